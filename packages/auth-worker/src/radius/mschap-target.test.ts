import { makeMschapV2, makeMschapV2Change, runTool } from '@countersign/radius/testing';
import {
  hasFreeradius,
  hasNtlmAuth,
  startTestFreeradius,
  startTestSamba,
  waitFor,
  type TestFreeradius,
  type TestSamba,
} from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ACCEPT, receivedIn, REJECT, useTestFronts } from '../testing/use-test-fronts.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { AskedElsewhere } from '../waits.ts';

const test = useTestStates();
const { enrol, reasonsOf, send, ...door } = useTestFronts(test);
const CLIENT = '127.0.0.1';
const NEW_PASSWORD = 'Nieuw.Wachtwoord.2';
const MSCHAP = ['MS-CHAP2-Success', 'MS-MPPE-', 'MS-CHAP-MPPE-'];
/** Nothing but the password is asked for. */
const exempt = {
  exempt: {
    reason: 'has no phone yet',
    at: new Date().toISOString(),
    by: 'test',
    until: new Date(Date.now() + 3_600_000).toISOString(),
  },
};

let samba: TestSamba;
let target: TestFreeradius;
let proxy: TestFreeradius;
let nodes: Awaited<ReturnType<typeof door.open>>[] = [];
/** Who is asked on the telephone, which the test holds in its hand. */
let asked: AskedElsewhere[] = [];

const elsewhere = {
  of: () => ['call'] as const,
  async ask(one: AskedElsewhere) {
    asked.push(one);
    return { sent: true, details: {} };
  },
  cancel: () => undefined,
};

async function untilAsked(): Promise<AskedElsewhere> {
  return waitFor('a call', () => asked[0], { timeoutMs: 10_000 });
}

const approve = ({ user, id }: AskedElsewhere) =>
  nodes[0]!.verifier.answerWait({ userId: user.id, questionId: id }, 'approved');

/** The same request to a FreeRADIUS of the test. */
function ask({ port, secret }: TestFreeradius, attributes: readonly string[]): Promise<string> {
  return runTool({
    command: 'radclient',
    args: ['-x', '-r', '4', '-t', '2', `127.0.0.1:${port}`, 'auth', secret],
    input: [...attributes, 'Message-Authenticator=0x00'].join(','),
  });
}

describe.skipIf(!hasNtlmAuth || !hasFreeradius)(
  'MSCHAPv2 judged by Active Directory (needs samba, winbind, freeradius)',
  () => {
    beforeAll(async () => {
      samba = await startTestSamba({ winbind: true });
      const { ntlmAuth } = samba;
      target = await startTestFreeradius({ role: 'target', users: [], ntlmAuth });
      await test.addApplication('vpn', { 'methods.default': 'call' });
      test.followStates();
      const nps = door.targetAt(
        'nps',
        { ports: [target.port], secret: target.secret },
        { timeoutMs: 10_000 },
      );
      await test.addRadiusTarget(nps);
      await test.addRadiusClient(door.clientAt(CLIENT, nps.id));
      nodes = [await door.open('node-1', { elsewhere }), await door.open('node-2', { elsewhere })];
      const [port = 0, accountingPort = 0] = nodes[0]!.front.ports;
      const to = { port, accountingPort, secret: door.shared };
      proxy = await startTestFreeradius({ role: 'proxy', to });
    }, 180_000);
    afterAll(async () => {
      await proxy?.stop();
      await target?.stop();
      await samba?.stop();
    });
    beforeEach(() => {
      asked = [];
    });

    it('lets a right password in, with the keys that the target gave, hidden for the client', async () => {
      const user = await enrol('alice', exempt);
      const proof = await makeMschapV2('alice', samba.personPassword);
      const through = await send(CLIENT, proof);
      expect(through).toContain(ACCEPT);
      // radclient opens them with the secret of whoever it asked.
      const told = receivedIn(through, ...MSCHAP);
      expect(told).toEqual(receivedIn(await ask(target, proof), ...MSCHAP));
      expect(told.join(' ')).toMatch(/MS-CHAP2-Success = 0x07533d.* MS-MPPE-Recv-Key = 0x/);
      expect(told.join(' ')).toMatch(/MS-MPPE-Send-Key = 0x[0-9a-f]{32} /);
      expect(await reasonsOf(user)).toEqual([{ reason: null, target: 'nps' }]);
    });

    it('does so behind a FreeRADIUS that passes on to us', async () => {
      await enrol('bob', exempt);
      const proof = await makeMschapV2('bob', samba.personPassword);
      const through = await ask(proxy, proof);
      expect(through).toContain(ACCEPT);
      const told = receivedIn(through, ...MSCHAP);
      expect(told).toEqual(receivedIn(await ask(target, proof), ...MSCHAP));
      expect(told).toHaveLength(5);
      expect(await ask(proxy, await makeMschapV2('bob', 'wrong'))).toContain(REJECT);
    });

    it('counts a wrong password as one, and lets no disabled account in', async () => {
      const user = await enrol('zoe', exempt);
      await enrol('daan', exempt);
      const wrong = await send(CLIENT, await makeMschapV2('zoe', 'wrong'));
      expect(wrong).toContain(REJECT);
      expect(wrong).toContain('MS-CHAP-Error = "\\007E=691 R=0 C=');
      expect((await reasonsOf(user))[0]?.reason).toBe('wrong_password');
      expect(await send(CLIENT, await makeMschapV2('daan', samba.personPassword))).toContain(
        REJECT,
      );
    });

    it('passes the change of an expired password on as it is, and what comes back', async () => {
      const user = await enrol('mia', exempt);
      const expired = await send(CLIENT, await makeMschapV2('mia', samba.personPassword));
      expect(expired).toContain(REJECT);
      expect(expired).toContain('MS-CHAP-Error = "\\007E=648 R=0 C=');
      const passwords = { old: samba.personPassword, new: NEW_PASSWORD };
      const change = await makeMschapV2Change('mia', passwords);
      const changed = await ask(proxy, change);
      expect(changed).toContain(ACCEPT);
      const log = await target.log();
      const proof = change.filter((line) => line.startsWith('MS-'));
      expect(proof).toHaveLength(5);
      for (const line of proof) expect(log).toContain(line.replace('=', ' = '));
      expect(await reasonsOf(user)).toEqual([
        { reason: 'password_expired', target: 'nps' },
        { reason: null, target: 'nps' },
      ]);
      const proven = await makeMschapV2('mia', NEW_PASSWORD);
      const through = await send(CLIENT, proven);
      expect(through).toContain(ACCEPT);
      expect(receivedIn(through, ...MSCHAP)).toEqual(
        receivedIn(await ask(target, proven), ...MSCHAP),
      );
    });

    it('counts the change of a password that was not the old one as a wrong one', async () => {
      const user = await enrol('chris', exempt);
      const passwords = { old: 'wrong', new: NEW_PASSWORD };
      const output = await send(CLIENT, await makeMschapV2Change('chris', passwords));
      expect(output).toContain(REJECT);
      expect(output).toContain('MS-CHAP-Error = "\\007E=691 R=0 C=');
      expect((await reasonsOf(user))[0]?.reason).toBe('wrong_password');
      expect(await send(CLIENT, await makeMschapV2('chris', samba.personPassword))).toContain(
        ACCEPT,
      );
    });

    it('rings where the password was right, and gives the keys with the approval, on any node', async () => {
      const user = await enrol('gijs');
      const proof = await makeMschapV2('gijs', samba.personPassword);
      const [one, two] = nodes;
      const first = send(CLIENT, proof, { at: one!.front, waitMs: 14_000 });
      const call = await untilAsked();
      const second = send(CLIENT, proof, { at: two!.front, waitMs: 14_000 });
      const isJoined = async () =>
        (await reasonsOf(user)).filter(({ reason }) => reason === null).length >= 2;
      await waitFor('the other node to wait', isJoined, { timeoutMs: 10_000 });
      expect(await approve(call)).toBe('taken');
      const told = receivedIn(await ask(target, proof), ...MSCHAP);
      for (const output of await Promise.all([first, second])) {
        expect(output).toContain(ACCEPT);
        expect(receivedIn(output, ...MSCHAP)).toEqual(told);
      }
      expect(asked).toHaveLength(1);
    });

    it('rings nobody for a wrong password', async () => {
      await enrol('ivo');
      expect(await send(CLIENT, await makeMschapV2('ivo', 'wrong'))).toContain(REJECT);
      expect(asked).toEqual([]);
    });

    it('lets in with a changed password only who approves as well', async () => {
      await enrol('hanna');
      const passwords = { old: samba.personPassword, new: NEW_PASSWORD };
      const change = await makeMschapV2Change('hanna', passwords);
      const changing = send(CLIENT, change, { waitMs: 14_000 });
      expect(await approve(await untilAsked())).toBe('taken');
      const output = await changing;
      expect(output).toContain(ACCEPT);
      expect(receivedIn(output, ...MSCHAP)).toHaveLength(5);
    });

    it('asks for no change that is not whole', async () => {
      const user = await enrol('fien', exempt);
      const passwords = { old: samba.personPassword, new: NEW_PASSWORD };
      const change = await makeMschapV2Change('fien', passwords);
      const withoutPassword = change.filter((line) => !line.startsWith('MS-CHAP-NT-Enc-PW'));
      expect(await send(CLIENT, withoutPassword)).toContain(REJECT);
      const [refused, ...more] = await reasonsOf(user);
      expect([refused, more]).toEqual([{ reason: 'wrong_password', target: undefined }, []]);
    });
  },
);
