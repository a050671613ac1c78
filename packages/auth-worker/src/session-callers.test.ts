import { randomBytes, randomUUID } from 'node:crypto';
import type { Caller, CommandName } from '@countersign/api';
import { Membership, serveAgentRequests, StopFacts } from '@countersign/cluster';
import { keepStopFacts, readForSession, takeFinalOutbox } from '@countersign/database';
import { hashApiKey, newSession, runCommand, sealerOf, sealSession } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import {
  parseStopFact,
  takeStopFact,
  rightsOf,
  type AdministratorDocument,
  type Role,
} from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import { DatabaseGate } from './database-gate.ts';
import { SessionCallers } from './session-callers.ts';
import { useTestStates } from './testing/use-test-states.ts';

const AT = '2026-03-01T12:00:00.000Z';
const test = useTestStates();
const key = () => ({ keyId: '00000000', key: randomBytes(32) });
const keys = { session: key(), 'session-proof': key() };
const sealer = sealerOf(key());
let callers: SessionCallers;

beforeAll(() => {
  callers = new SessionCallers({
    db: test.db(),
    gate: new DatabaseGate(() => test.db().sql`select 1`),
    key: keys.session,
    path: () => ({ link: test.link(), sealer, node: 'node-1' }),
  });
});

async function add(
  username: string,
  roles: Role[],
  differs: Partial<AdministratorDocument> = {},
): Promise<AdministratorDocument> {
  const document: AdministratorDocument = {
    id: randomUUID(),
    username,
    roles,
    disabled: false,
    credentials: {
      password: { salt: `${'A'.repeat(22)}==`, hash: `${'A'.repeat(43)}=` },
      totp: {
        id: randomUUID(),
        algorithm: 'SHA1',
        digits: 6,
        periodSeconds: 30,
        sealedSecret: 'AAAA',
        usedUpTo: 1,
      },
      since: AT,
    },
    unlockedAt: null,
    createdAt: AT,
    updatedAt: AT,
    ...differs,
  };
  await test.apply({ kind: 'administrator', document });
  return document;
}

function tokenOf({ id }: AdministratorDocument, ageMs = 0): string {
  const at = Date.now() - ageMs;
  return sealSession(keys, {
    id: randomUUID(),
    administratorId: id,
    madeAt: at,
    secondFactorAt: at,
    usedAt: at,
    expiresAt: at + 8 * 3_600_000,
  });
}

const authenticate = (bearer: string, reason?: string) =>
  callers.authenticate({
    bearer,
    remoteAddress: '192.0.2.1',
    local: false,
    isConfirmedLater: true,
    ...(reason && { reason }),
  });

async function callerOf(who: AdministratorDocument, reason?: string): Promise<Caller> {
  return (await authenticate(tokenOf(who), reason))!;
}

describe('a session at a worker', () => {
  it('has the rights of the roles, as they are now', async () => {
    const paul = await add('paul', ['helpdesk']);
    const token = tokenOf(paul);
    const caller = await authenticate(token, 'why');
    expect(caller).toMatchObject({
      name: 'paul',
      session: { administratorId: paul.id },
      proof: { kind: 'session', token, reason: 'why' },
    });
    expect(caller?.scopes).toEqual(new Set(rightsOf(['helpdesk'])));
    await test.apply({ kind: 'administrator', document: { ...paul, roles: ['auditor'] } });
    expect((await authenticate(token))?.scopes).toEqual(new Set(rightsOf(['auditor'])));
    await test.apply({ kind: 'administrator', document: { ...paul, disabled: true } });
    expect(await authenticate(token)).toBeNull();
  });

  it('is not forged, not extended and not an API key', async () => {
    const rose = await add('rose', ['owner']);
    const token = tokenOf(rose);
    expect(SessionCallers.isSession({ bearer: token })).toBe(true);
    expect(SessionCallers.isSession({ bearer: 'cs_key' })).toBe(false);
    const bytes = Buffer.from(token.slice(4), 'base64url');
    for (const index of [0, 20, 60, bytes.length - 1]) {
      const altered = Buffer.from(bytes);
      altered[index]! ^= 1;
      expect(await authenticate(`css_${altered.toString('base64url')}`)).toBeNull();
    }
    const stranger = sealSession(
      { ...keys, session: key() },
      {
        id: randomUUID(),
        administratorId: rose.id,
        madeAt: Date.now(),
        secondFactorAt: Date.now(),
        usedAt: Date.now(),
        expiresAt: Date.now() + 1000,
      },
    );
    expect(await authenticate(stranger)).toBeNull();
    expect(await authenticate(tokenOf(rose, 8 * 3_600_000))).toBeNull();
  });

  it('made before the cluster key was changed is over, and says so', async () => {
    const otto = await add('otto', ['owner']);
    const before = { ...keys, session: { keyId: '11111111', key: randomBytes(32) } };
    const at = Date.now();
    const claims = {
      id: randomUUID(),
      administratorId: otto.id,
      madeAt: at,
      secondFactorAt: at,
      usedAt: at,
    };
    const token = sealSession(before, { ...claims, expiresAt: at + 3_600_000 });
    await expect(authenticate(token)).rejects.toMatchObject({ status: 401, code: 'session_over' });
  });

  it('ends after 30 minutes without use, and is given anew by the agent while it is used', async () => {
    const ida = await add('ida', ['owner']);
    const minutes = (n: number) => n * 60_000;
    expect(await authenticate(tokenOf(ida, minutes(30)))).toBeNull();
    // While the agent is away it goes on as it is.
    const late = tokenOf(ida, minutes(29));
    expect((await authenticate(late))?.renewedToken).toBeUndefined();

    const asked: unknown[] = [];
    const result = { token: 'css_anew', username: 'ida', roles: [], expiresAt: AT, freshUntil: AT };
    serveAgentRequests({
      link: test.agentLink(),
      sealer,
      node: 'node-1',
      async handle(verb, body) {
        asked.push([verb, body]);
        return { ok: true, result };
      },
    });
    const renewed = async () => (await authenticate(late))?.renewedToken;
    expect(await waitFor('the agent', renewed, { timeoutMs: 5000 })).toBe('css_anew');
    expect(asked[0]).toEqual(['renew-session', { token: late }]);
    expect((await authenticate(tokenOf(ida, minutes(4))))?.renewedToken).toBeUndefined();
  });

  it('is void on a node that heard the stop fact, whoever told it', async () => {
    const sam = await add('sam', ['owner']);
    const token = tokenOf(sam);
    expect(await authenticate(token)).not.toBeNull();
    const fact = {
      id: randomUUID(),
      reason: 'x',
      by: 'y',
      node: 'node-2',
      at: AT,
      expiresAt: null,
    };
    await keepStopFacts(test.db(), [{ ...fact, kind: 'administrator', subject: sam.id }]);
    expect(await authenticate(token)).toBeNull();
  });

  it('begun later is ended by a later fact, whatever date an earlier one has', async () => {
    const una = await add('una', ['owner']);
    const told = (at: string) => {
      const about = { kind: 'session', subject: una.id, reason: 'x', by: 'y', node: 'node-2' };
      return takeStopFact({ id: randomUUID(), ...about, at, expiresAt: null });
    };
    const of = { administratorId: una.id, sessionId: null };
    await keepStopFacts(test.db(), [told('9998-01-01T00:00:00.000Z')]);
    const claims = newSession(randomUUID(), await readForSession(test.db(), of), Date.now());
    const token = sealSession(keys, claims);
    expect(await authenticate(token)).not.toBeNull();
    await keepStopFacts(test.db(), [told(new Date(Date.now() + 5000).toISOString())]);
    expect(await authenticate(token)).toBeNull();
  });
});

it('an invitation is found by its code until it is over', async () => {
  const invitation = (expiresAt: string) => ({
    invitation: { codeHash: hashApiKey(expiresAt), at: AT, by: 'x', expiresAt },
  });
  const soon = new Date(Date.now() + 60_000).toISOString();
  await add('invited', ['auditor'], invitation(soon));
  await add('late', ['auditor'], invitation(AT));
  expect((await callers.findInvited(soon))?.username).toBe('invited');
  expect(await callers.findInvited(AT)).toBeNull();
  expect(await callers.findInvited('csi_other')).toBeNull();
});

describe('without a master', () => {
  function run(caller: Caller, name: CommandName, args: Record<string, unknown>) {
    const link = test.link();
    const stopFacts = new StopFacts({
      link,
      incarnationNumber: 1,
      sealer,
      parse: parseStopFact,
    });
    const membership = new Membership(link);
    const path = { db: test.db(), node: 'node-1', stopFacts, link, membership, sealer };
    const idKeys = { attemptKey: keys.session, commandIdKey: keys.session };
    const request = { name, args, caller, idempotencyKey: null, timeoutMs: 5000 };
    return runCommand({ ...path, ...idKeys }, request, () => ({ ...caller.proof }));
  }

  const refusalOf = async (...wish: Parameters<typeof run>) => {
    const reply = await run(...wish);
    return reply.kind === 'refused' ? reply.code : reply.kind;
  };

  it('a session is ended at once, by itself or by an owner', async () => {
    const tom = await add('tom', ['helpdesk']);
    const una = await add('una', ['owner']);
    const [first, second] = [tokenOf(tom), tokenOf(tom)];
    expect(await refusalOf((await authenticate(first))!, 'session.revoke', {})).toBe('stopped');
    expect(await authenticate(first)).toBeNull();
    expect(await authenticate(second)).not.toBeNull();
    const by = await callerOf(una);
    expect(await refusalOf(by, 'session.revoke', { username: 'TOM' })).toBe('stopped');
    expect(await authenticate(second)).toBeNull();
    const events = (await takeFinalOutbox(test.db(), 100)).map(({ event }) => event);
    expect(events.at(-1)).toMatchObject({
      type: 'session.revoke',
      actor: 'una',
      degraded: false,
      details: { administrator: 'tom', reason: 'signed out' },
    });
  });

  it('an administrator is removed by the same rules as with one', async () => {
    const vic = await add('vic', ['owner']);
    const will = await add('will', ['administrator']);
    const target = { username: 'will' };
    const by = (reason?: string) => callerOf(vic, reason);
    expect(await refusalOf(await by('gone'), 'administrator.remove', { username: 'vic' })).toBe(
      'own_account',
    );
    expect(await refusalOf(await by(), 'administrator.remove', target)).toBe('reason_required');
    const stale = await authenticate(tokenOf(vic, 11 * 60_000), 'gone');
    expect(await refusalOf(stale!, 'administrator.remove', target)).toBe('second_factor_too_old');
    const help = await callerOf(await add('xena', ['helpdesk']), 'gone');
    expect(await refusalOf(help, 'administrator.remove', target)).toBe('forbidden');
    const token = tokenOf(will);
    expect(await refusalOf(await by('gone'), 'administrator.remove', target)).toBe('stopped');
    expect(await authenticate(token)).toBeNull();
    expect(await refusalOf(await by('gone'), 'administrator.remove', target)).toBe(
      'unknown_administrator',
    );
  });
});
