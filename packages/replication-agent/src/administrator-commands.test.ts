import { randomUUID } from 'node:crypto';
import {
  addStopFact,
  findAdministrator,
  listAdministrators,
  readSettings,
} from '@countersign/database';
import { newEvent, openSession, sealSession, type SessionClaims } from '@countersign/operations';
import { encodeBase32, generateSecret, hotp, totpStep, type Role } from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import { MAIL_EVENTS, planMails } from './mail/plan-mails.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
let master: Awaited<ReturnType<typeof startTestMaster>>;
let owner: Awaited<ReturnType<typeof enrol>>;

type Proof = Record<string, unknown>;
type By = { username: string; proof: Proof };

beforeAll(async () => {
  master = await startTestMaster(test);
  owner = await enrol('olive', ['owner']);
}, 60_000);

function run(name: string, args: object, by?: By, commandId: string = randomUUID()) {
  const command = master.command(name, args as Record<string, unknown>, 8000, commandId);
  return master.mastership.handle(
    by ? { ...command, actor: by.username, proof: by.proof } : command,
  );
}

async function done(...wish: Parameters<typeof run>): Promise<Record<string, unknown>> {
  const reply = await run(...wish);
  if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
  return reply.result;
}

async function refusalOf(...wish: Parameters<typeof run>): Promise<string> {
  const reply = await run(...wish);
  return reply.kind === 'refused' ? `${reply.status} ${reply.code}` : reply.kind;
}

async function invite(username: string, roles: Role[]): Promise<string> {
  const { code } = await done('administrator.add', { username, roles });
  return String(code);
}

function accept(username: string, code: string, with_: { password?: string; code?: string } = {}) {
  const secret = generateSecret();
  const now = hotp(secret, totpStep(Date.now(), 30), { algorithm: 'SHA1', digits: 6 });
  const args = {
    password: 'correct horse battery',
    secret: encodeBase32(secret),
    code: now,
    ...with_,
  };
  return refusalOf('administrator.accept', args, {
    username,
    proof: { kind: 'invitation', secret: code },
  });
}

/** Somebody with password and authenticator, and a session of theirs with a second factor that old. */
async function enrol(username: string, roles: Role[]) {
  expect(await accept(username, await invite(username, roles))).toBe('done');
  const { id } = (await findAdministrator(master.db, username))!;
  return { username, id };
}

function sessionOf(
  who: { username: string; id: string },
  { reason = 'a reason', ...differs }: Partial<SessionClaims> & { reason?: string | null } = {},
): By {
  const at = Date.now() + 61_000;
  const token = sealSession(master.keys, {
    id: randomUUID(),
    administratorId: who.id,
    madeAt: at,
    secondFactorAt: Date.now(),
    usedAt: Date.now(),
    expiresAt: at + 3_600_000,
    ...differs,
  });
  return { username: who.username, proof: { kind: 'session', token, ...(reason && { reason }) } };
}

describe('an invitation', () => {
  it('sets password and authenticator once, and nothing of it is stored readably', async () => {
    const commandId = randomUUID();
    const wish = { username: 'ivy', roles: ['auditor'] };
    const { code, expiresAt } = await done('administrator.add', wish, undefined, commandId);
    expect(code).toMatch(/^csi_[\w-]{43}$/);
    const hours = (Date.parse(String(expiresAt)) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(23.9);
    expect(hours).toBeLessThanOrEqual(24);
    expect(await done('administrator.add', wish, undefined, commandId)).toMatchObject({ code });

    expect(await accept('ivy', 'csi_wrong')).toBe('401 invalid_invitation');
    expect(await accept('ivy', String(code), { password: 'short' })).toBe('400 invalid_password');
    expect(await accept('ivy', String(code), { password: 'ivyivyivyivy' })).toBe(
      '400 invalid_password',
    );
    expect(await accept('ivy', String(code), { code: '000000' })).toBe('403 wrong_code');
    expect(await accept('olive', String(code))).toBe('401 unauthorized');
    expect(await accept('ivy', String(code))).toBe('done');
    expect(await accept('ivy', String(code))).toBe('401 invalid_invitation');

    const rows = await master.db.sql`
      select document::text as row from administrators
      union all select command_results::text from command_results
      union all select outbox::text from outbox`;
    const stored = JSON.stringify(rows);
    expect(stored).toContain('ivy');
    expect(stored).not.toContain(String(code));
    expect(stored).not.toContain('correct horse');
  });

  it('runs no other command, and ends after a day', async () => {
    const code = await invite('late', ['helpdesk']);
    const by = { username: 'late', proof: { kind: 'invitation', secret: code } };
    expect(await refusalOf('user.block', { username: 'x', reason: 'y' }, by)).toBe(
      '401 invalid_invitation',
    );
    await master.db.sql`update administrators
      set document = jsonb_set(document, '{invitation,expiresAt}', '"2026-01-01T00:00:00Z"')
      where document ->> 'username' = 'late'`;
    expect(await accept('late', code)).toBe('401 invalid_invitation');
  });

  it('of before a forced promotion or a restore is over: it may have been used meanwhile', async () => {
    const code = await invite('caught', ['helpdesk']);
    const disasterAt = (at: string | null) => master.db.sql`update applied
      set incarnation = jsonb_set(incarnation, '{disasterAt}', ${JSON.stringify(at)}::text::jsonb)`;
    await disasterAt(new Date().toISOString());
    expect(await accept('caught', code)).toBe('401 invalid_invitation');
    const { code: another } = await done('administrator.invite', { username: 'caught' });
    expect(await accept('caught', String(another))).toBe('done');
    await disasterAt(null);
  });
});

describe('rights over administrators', () => {
  it('are no API key’s, whatever scopes it has', async () => {
    const { key } = await done('api-key.add', { name: 'all', scopes: ['users:write'] });
    const by = { username: 'all', proof: { kind: 'api-key', secret: key } };
    const wish = { username: 'mallory', roles: ['owner'] };
    expect(await refusalOf('administrator.add', wish, by)).toBe('403 forbidden');
    expect(await refusalOf('administrator.recover', { username: 'mallory' }, by)).toBe(
      '403 forbidden',
    );
  });

  it('are never used on oneself, and recovery is the local socket’s alone', async () => {
    const by = sessionOf(owner);
    const wishes = [
      ['administrator.set', { username: 'olive', changes: { roles: ['owner', 'auditor'] } }],
      ['administrator.invite', { username: 'olive' }],
      ['administrator.remove', { username: 'OLIVE' }],
    ] as const;
    for (const [name, args] of wishes) {
      expect(await refusalOf(name, args, by)).toBe('403 own_account');
    }
    expect(await refusalOf('administrator.recover', { username: 'olive' }, by)).toBe(
      '403 forbidden',
    );
    expect(await done('administrator.recover', { username: 'rescue' })).toMatchObject({
      username: 'rescue',
    });
    await done('administrator.remove', { username: 'rescue' });
  });

  it('are not a help desk’s: it neither resets an owner nor grants itself anything', async () => {
    const helen = await enrol('helen', ['helpdesk']);
    const by = sessionOf(helen);
    const wishes = [
      ['administrator.invite', { username: 'olive' }],
      ['administrator.set', { username: 'helen', changes: { roles: ['owner'] } }],
      ['administrator.add', { username: 'mallory', roles: ['owner'] }],
      ['api-key.add', { name: 'more', scopes: ['users:write'] }],
      ['authenticator.enroll', { username: 'alice', type: 'totp' }],
      ['user.set-pin', { username: 'alice', pin: '2580' }],
      ['user.make-recovery-codes', { username: 'alice' }],
      ['user.exempt', { username: 'alice', reason: 'x', until: '2099-01-01T00:00:00Z' }],
      ['settings.set', { changes: { 'lockout.failures': 100 } }],
    ] as const;
    for (const [name, args] of wishes) {
      expect([name, await refusalOf(name, args, by)]).toEqual([name, '403 forbidden']);
    }
    await done('user.add', { username: 'alice' });
    expect(await refusalOf('user.block', { username: 'alice', reason: 'lost' }, by)).toBe('done');
    expect(await refusalOf('user.unblock', { username: 'alice' }, by)).toBe('done');
    expect(await refusalOf('user.make-enrolment-code', { username: 'alice' }, by)).toBe('done');
    const bypass = { username: 'alice', reason: 'no phone' };
    expect(await refusalOf('user.bypass', bypass, by)).toBe('done');
  });

  it('end where the other holds more, also for whoever may change administrators', async () => {
    // No role has this today: a right to administrators without all others.
    const { refuseOverreach } = await import('./commands/administrator-rules.ts');
    const target = (await findAdministrator(master.db, 'olive'))!;
    const rights = {
      scopes: ['administrators:write', 'users:read'] as const,
      applications: null,
      networks: null,
      expiresAt: null,
    };
    expect(refuseOverreach({ rights }, { target })).toMatchObject({ code: 'forbidden' });
    expect(refuseOverreach({ rights }, { target: null, granted: ['helpdesk'] })).toMatchObject({
      code: 'forbidden',
    });
  });

  it('leave the last owner, of those who have accepted', async () => {
    await invite('invited', ['owner']);
    for (const changes of [{ disabled: true }, { roles: ['administrator'] }]) {
      const wish = { username: 'olive', changes };
      expect(await refusalOf('administrator.set', wish)).toBe('409 last_owner');
    }
    expect(await refusalOf('administrator.remove', { username: 'olive' })).toBe('409 last_owner');
    const oscar = await enrol('oscar', ['owner']);
    expect(await refusalOf('administrator.remove', { username: 'olive' }, sessionOf(oscar))).toBe(
      'done',
    );
    expect(await refusalOf('administrator.remove', { username: 'oscar' })).toBe('409 last_owner');
    owner = await enrol('olive', ['owner']);
    await done('administrator.remove', { username: 'oscar' });
  });
});

describe('a session', () => {
  const wish = ['user.add', { username: 'new' }] as const;

  it('acts for whom it is, in the log too', async () => {
    const by = sessionOf(owner);
    expect(await refusalOf('user.add', { username: 'one' }, by)).toBe('done');
    const named = { ...by, username: 'somebody else' };
    expect(await refusalOf('user.add', { username: 'two' }, named)).toBe('401 unauthorized');
    const [event] = await master.db.sql`
      select event from outbox where event ->> 'username' = 'one'`;
    expect(event?.event).toMatchObject({ actor: 'olive', details: { reason: 'a reason' } });
  });

  it('made by a worker, which has no key of the agents, is refused', async () => {
    const foreign = test.makeKeys()['session-proof'];
    const token = sealSession(
      { ...master.keys, 'session-proof': foreign },
      {
        id: randomUUID(),
        administratorId: owner.id,
        madeAt: Date.now() + 61_000,
        secondFactorAt: Date.now(),
        usedAt: Date.now(),
        expiresAt: Date.now() + 3_600_000,
      },
    );
    // The worker itself would have taken it.
    expect(openSession({ session: master.keys.session }, token)).not.toBeNull();
    const proof = { kind: 'session', token, reason: 'x' };
    expect(await refusalOf(...wish, { username: 'olive', proof })).toBe('401 unauthorized');
    for (const broken of [undefined, 7, '', 'css_', `${token}x`]) {
      const by = { username: 'olive', proof: { kind: 'session', token: broken } };
      expect(await refusalOf(...wish, by)).toBe('401 unauthorized');
    }
  });

  it('ends with its time, its revocation, its owner’s new credentials and its owner', async () => {
    const over = sessionOf(owner, { expiresAt: Date.now() - 1 });
    expect(await refusalOf(...wish, over)).toBe('401 unauthorized');
    const before = sessionOf(owner, { madeAt: Date.now() - 1 });
    expect(await refusalOf(...wish, before)).toBe('401 unauthorized');

    const paul = await enrol('paul', ['administrator']);
    const id = randomUUID();
    const stolen = sessionOf(paul, { id });
    const other = sessionOf(paul);
    const block = ['user.block', { username: 'alice', reason: 'x' }] as const;
    expect(await refusalOf(...block, stolen)).toBe('done');
    await stop('session', id);
    expect(await refusalOf(...block, stolen)).toBe('401 unauthorized');
    expect(await refusalOf(...block, other)).toBe('done');
    await stop('administrator', paul.id);
    expect(await refusalOf(...block, other)).toBe('401 unauthorized');
    expect(await findAdministrator(master.db, 'paul')).toBeNull();
  });

  it('of somebody disabled counts no more, also when they are let in again', async () => {
    const dora = await enrol('dora', ['administrator']);
    const by = sessionOf(dora, { madeAt: Date.now() + 60_500 });
    const block = ['user.block', { username: 'alice', reason: 'x' }] as const;
    const set = (disabled: boolean) =>
      done('administrator.set', { username: 'dora', changes: { disabled } });
    await set(true);
    expect(await refusalOf(...block, by)).toBe('401 unauthorized');
    await set(false);
    expect(await refusalOf(...block, { ...sessionOf(dora, { madeAt: Date.now() }) })).toBe(
      '401 unauthorized',
    );
  });

  async function stop(kind: 'session' | 'administrator', subject: string) {
    const now = { at: new Date().toISOString(), node: 'node-1' };
    const fact = { id: randomUUID(), kind, subject, reason: 'x', by: 'y', expiresAt: null, ...now };
    await addStopFact(master.db, fact, newEvent({ type: 'stop', node: 'node-1' }));
  }
});

describe('what opens doors', () => {
  const minutes = (n: number) => ({ secondFactorAt: Date.now() - n * 60_000 });
  const until = '2099-01-01T00:00:00Z';
  const wishes: [string, Record<string, unknown>][] = [
    ['administrator.add', { username: 'fresh', roles: ['auditor'] }],
    ['api-key.add', { name: 'k', scopes: ['verify'] }],
    ['user.exempt', { username: 'alice', until, reason: 'x' }],
    [
      'user.add',
      { username: 'imported', authenticators: [{ type: 'totp', secret: 'A'.repeat(32) }] },
    ],
    ['user.set-pin', { username: 'alice', pin: '2580' }],
    ['settings.set', { changes: { 'mail.password': 'secret' } }],
    ['settings.set', { changes: { 'trustedIps.ranges': ['0.0.0.0/0'] } }],
    ['application.add', { name: 'vpn', enabled: true, userMatch: 'pass', settings: {} }],
    ['application.set', { name: 'vpn', changes: { userMatch: 'pass' } }],
    ['application.set', { name: 'vpn', changes: { settings: { 'lockout.failures': 100 } } }],
    ['settings.set', { changes: { 'lockout.failures': 100 } }],
    ['settings.set', { changes: { 'mail.administrators': null } }],
    ['user.bypass', { username: 'alice', reason: 'x' }],
    ['user.make-enrolment-code', { username: 'alice' }],
    ['user.make-recovery-codes', { username: 'alice' }],
    ['user.remove-pin', { username: 'alice' }],
    ['authenticator.enroll', { username: 'alice', type: 'totp' }],
    ['authenticator.enroll', { username: 'alice', type: 'phone', number: '+31612345678' }],
    ['user.add', { username: 'made', authenticators: [{ type: 'totp' }] }],
    ['user.set', { username: 'alice', changes: { username: 'mallory' } }],
    ['user.set', { username: 'alice', changes: { email: 'mallory@example.org' } }],
    ['user.set', { username: 'alice', changes: { method: 'text' } }],
    ['radius-client.set', { name: 'gw', changes: { messageAuthenticator: 'off' } }],
    ['radius-target.set', { name: 'nps', changes: { messageAuthenticator: 'off' } }],
    ['directory.approve-phone', { username: 'alice' }],
    [
      'radius-client.add',
      { name: 'gw', addresses: ['192.0.2.1/32'], secret: 'a long shared secret' },
    ],
    ['cluster.remove-node', { node: 'node-9' }],
    ['cluster.rotate-keys', {}],
  ];

  it('takes a second factor of the last ten minutes', async () => {
    for (const [name, args] of wishes) {
      const stale = await refusalOf(name, args, sessionOf(owner, minutes(10.1)));
      expect([name, stale]).toEqual([name, '403 second_factor_too_old']);
      const ahead = await refusalOf(name, args, sessionOf(owner, minutes(-11)));
      expect([name, ahead]).toEqual([name, '403 second_factor_too_old']);
    }
    const fresh = sessionOf(owner, minutes(9.9));
    expect(await refusalOf(...wishes[0]!, fresh)).toBe('done');
    // What takes away, gives back or only names does not.
    const long = () => sessionOf(owner, { ...minutes(300), reason: null });
    const plain = { username: 'plain' };
    expect(await refusalOf('user.add', plain, long())).toBe('done');
    const block = { ...plain, reason: 'x', days: 1 };
    expect(await refusalOf('user.block', block, long())).toBe('done');
    expect(await refusalOf('user.unblock', plain, long())).toBe('done');
    const named = { ...plain, changes: { displayName: 'P', enabled: true } };
    expect(await refusalOf('user.set', named, long())).toBe('done');
  });

  it('takes a reason, which stands in the event', async () => {
    for (const [name, args] of wishes.filter(([, { reason }]) => reason === undefined)) {
      const silent = await refusalOf(name, args, sessionOf(owner, { reason: null }));
      expect([name, silent]).toEqual([name, '400 reason_required']);
    }
    const unsafe = sessionOf(owner, { reason: 'a\u001b[2J' });
    expect(await refusalOf(...wishes[1]!, unsafe)).toBe('400 reason_required');
    await done(...wishes[1]!, sessionOf(owner, { reason: 'for the portal' }));
    const [event] = await master.db.sql`
      select event from outbox where event ->> 'type' = 'api-key.add'
        and event -> 'details' ->> 'name' = 'k'`;
    expect(event?.event).toMatchObject({ details: { reason: 'for the portal' } });
  });
});

it('a recovery and a lockout are mailed to every administrator who has an address', async () => {
  const wish = { username: 'mia', roles: ['auditor'], mail: 'mia@example.com' };
  await done('administrator.add', wish);
  const { settings } = await readSettings(master.db);
  const mail = { ...settings.mail, administrators: ['all@example.com'] };
  const about = {
    db: master.db,
    keys: master.keys,
    settings: { ...settings, mail },
    log: { warn: () => undefined },
  };
  const event = { ...newEvent({ type: '', node: 'node-1' }), incarnation: 1, arrival: 1 };
  const mailsOf = async (differs: object) => {
    const planned = await planMails({ ...event, ...differs }, about);
    return planned.map((one) => `${one?.to}: ${one?.subject}`);
  };
  const details = { administrator: 'olive' };
  const invited = 'An owner was invited at the machine: olive';
  expect(await mailsOf({ type: 'administrator.recover', details })).toEqual([
    `all@example.com: ${invited}`,
    `mia@example.com: ${invited}`,
  ]);
  expect(await mailsOf({ type: 'administrator.sign-in', actor: 'olive' })).toEqual([
    'all@example.com: Locked out: olive',
    'mia@example.com: Locked out: olive',
  ]);
  expect(MAIL_EVENTS.types).toContain('administrator.recover');
  // Of sign-ins only those that begin a lockout.
  expect(MAIL_EVENTS.types).not.toContain('administrator.sign-in');
});

it('a name is one administrator’s, and a removed one is found no more', async () => {
  expect(await refusalOf('administrator.add', { username: ' Olive ', roles: ['auditor'] })).toBe(
    '409 username_taken',
  );
  const known = (await listAdministrators(master.db)).map(({ document }) => document.username);
  expect(known).not.toContain('oscar');
});
