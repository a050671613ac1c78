import { readFile } from 'node:fs/promises';
import { ParkedEntries } from '@countersign/cluster';
import { makeAttribute, RadiusServer } from '@countersign/radius';
import { makeMschapV2, openUdpPeer, runTool, signTestRequest } from '@countersign/radius/testing';
import {
  hasFreeradius,
  startTestFreeradius,
  takeFreePorts,
  type TestFreeradius,
} from '@countersign/testing';
import {
  parseState,
  type RadiusTargetDocument,
  type UserDocument,
} from '@countersign/verification';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ACCEPT,
  CHALLENGE,
  pap,
  receivedIn,
  REJECT,
  useTestFronts,
} from '../testing/use-test-fronts.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { RadiusFront } from './radius-front.ts';

const test = useTestStates();
const door = useTestFronts(test);
const { clientAt, code, enrol, reasonsOf, send } = door;
const RIGHT = 'Wachtwoord.1';
const DENIED = 'Reply-Message = "Sign-in denied."';

let target: TestFreeradius;
let unsigned: TestFreeradius;
let fronts: RadiusFront[] = [];
/** What the front doors wrote. */
const logged: string[] = [];
const log = pino({ level: 'warn' }, { write: (line) => void logged.push(line) });
/** Whether the log takes and tells what is parked. */
let isLogUp = true;

// A log in which nothing stands is as silent as one that is away.
const parkedEntries = () => new ParkedEntries(test.link(), isLogUp ? 1 : 77);

const targetAt = (name: string, ports: number[], fields: Partial<RadiusTargetDocument> = {}) =>
  door.targetAt(name, { ports, secret: target.secret }, fields);

/** Bytes at a port of 127.0.0.1 that its server has not read. */
async function unreadBytesAt(port: number): Promise<number> {
  const place = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000`;
  const queues = new RegExp(`: ${place} [0-9A-F]{2} [0-9A-F]{8}:([0-9A-F]{8}) `);
  return parseInt(queues.exec(await readFile('/proc/net/udp', 'utf8'))?.[1] ?? '0', 16);
}

async function passwordFailuresOf({ id }: UserDocument): Promise<number> {
  const read = await test.states().readThroughLeader(id, 2000);
  if (read.kind !== 'found') throw new Error(read.kind);
  return parseState(read.bytes).methods.password?.failures ?? 0;
}

const stateOf = (output: string) =>
  `State=${/^\s+State = (0x[0-9a-f]+)/m.exec(output.slice(output.indexOf('Received')))?.[1]}`;

const exempt: Partial<UserDocument> = {
  exempt: {
    reason: 'has no phone yet',
    at: new Date().toISOString(),
    by: 'test',
    until: new Date(Date.now() + 3_600_000).toISOString(),
  },
};

describe.skipIf(!hasFreeradius)('a RADIUS target (needs freeradius)', () => {
  const names = [
    'anna',
    'bram',
    'cees',
    'dirk',
    'els',
    'fien',
    'gijs',
    'hugo',
    'ida',
    'jan',
    'lars',
    'mark',
    'nico',
    'olaf',
    'piet',
  ];
  beforeAll(async () => {
    const users = names.map((name) => ({
      name,
      password: RIGHT,
      reply: [`Class := "of ${name}"`, 'Filter-Id := "inside"', 'Framed-MTU := 1400'],
    }));
    const asking = { name: 'koen', password: RIGHT, challenge: { text: 'PIN?', code: '1' } };
    target = await startTestFreeradius({ role: 'target', users: [...users, asking] });
    unsigned = await startTestFreeradius({ role: 'target', users, unsigned: true });
    await test.addApplication('vpn', {});
    const [deaf = 0] = await takeFreePorts(1);
    const plain = targetAt('plain', [target.port]);
    const behind = targetAt('behind', [deaf, target.port]);
    const bare = targetAt('bare', [unsigned.port]);
    const trusting = targetAt('trusting', [unsigned.port], { messageAuthenticator: 'off' });
    const gone = targetAt('gone', [deaf], { timeoutMs: 500 });
    for (const each of [plain, behind, bare, trusting, gone]) await test.addRadiusTarget(each);
    await test.addRadiusClient(clientAt('127.0.0.1', plain.id));
    await test.addRadiusClient(clientAt('127.0.0.2', behind.id));
    await test.addRadiusClient(clientAt('127.0.0.3', bare.id));
    await test.addRadiusClient(clientAt('127.0.0.4', trusting.id));
    await test.addRadiusClient(clientAt('127.0.0.5', gone.id));
    fronts = [
      (await door.open('node-1', { parkedEntries, log })).front,
      (await door.open('node-2', { parkedEntries, log })).front,
    ];
  }, 60_000);
  afterAll(async () => {
    await target?.stop();
    await unsigned?.stop();
  });

  it('judges the password; with the code comes an accept with what may pass, before the client’s own', async () => {
    const user = await enrol('anna');
    const output = await send('127.0.0.1', pap('anna', `${RIGHT},${code(0)}`));
    expect(output).toContain(ACCEPT);
    const told = output.slice(output.indexOf('Received'));
    expect(told).toMatch(
      /Class = 0x6f6620616e6e61\n\s+Filter-Id = "inside"\n\s+Session-Timeout = 600/,
    );
    expect(told).not.toContain('Framed-MTU');
    expect(await reasonsOf(user)).toEqual([{ reason: null, target: 'plain' }]);
  });

  it('rejects a wrong password without spending the code, and counts it as one', async () => {
    const user = await enrol('bram');
    const wrong = await send('127.0.0.1', pap('bram', `wrong,${code(0)}`));
    expect(wrong).toContain(REJECT);
    expect(wrong).toContain(DENIED);
    expect(await send('127.0.0.1', pap('bram', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
    expect((await reasonsOf(user)).map(({ reason }) => reason)).toEqual(['wrong_password', null]);
  });

  it('keeps what the target returned until the answer, on whatever node that comes', async () => {
    await enrol('cees');
    const asked = await send('127.0.0.1', pap('cees', RIGHT));
    expect(asked).toContain(CHALLENGE);
    expect(asked.slice(asked.indexOf('Received'))).not.toContain('Filter-Id');
    await test.db().sql`delete from parked_entries`;
    const answer = [...pap('cees', code(0)), stateOf(asked)];
    const accepted = await send('127.0.0.1', answer, { at: fronts[1]! });
    expect(accepted).toContain(ACCEPT);
    expect(accepted).toContain('Filter-Id = "inside"');
  });

  it('needs no log for it at the node that asked, and spends no code where it is lost', async () => {
    await enrol('dirk');
    isLogUp = false;
    try {
      const asked = await send('127.0.0.1', pap('dirk', RIGHT));
      expect(asked).toContain(CHALLENGE);
      const answer = [...pap('dirk', code(0)), stateOf(asked)];
      const kept = await test.db().sql`delete from parked_entries returning *`;
      expect(await send('127.0.0.1', answer, { waitMs: 2000 })).not.toContain(ACCEPT);
      for (const { id, sealed } of kept) {
        await test.db().sql`
          insert into parked_entries values (${id}, ${sealed}, now() + interval '5 minutes')`;
      }
      const accepted = await send('127.0.0.1', answer);
      expect(accepted).toContain(ACCEPT);
      expect(accepted).toContain('Filter-Id = "inside"');
    } finally {
      isLogUp = true;
    }
  });

  it('goes on to the next server where one is gone', async () => {
    await enrol('els');
    expect(await send('127.0.0.2', pap('els', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
    expect(await send('127.0.0.2', pap('els', `${RIGHT},${code(1)}`))).toContain(ACCEPT);
  });

  it('lets nobody in, and counts nothing as wrong, where none answers', async () => {
    const user = await enrol('fien');
    expect(await send('127.0.0.5', pap('fien', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_unavailable');
    expect(await passwordFailuresOf(user)).toBe(0);
    expect(await send('127.0.0.1', pap('fien', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
  });

  it('counts a password that a target heard and said nothing of, for it may be a wrong one', async () => {
    const silent = await startTestFreeradius({ role: 'target', users: [] });
    const one = targetAt('silent', [silent.port], { timeoutMs: 500 });
    await test.addRadiusTarget(one);
    await test.addRadiusClient(clientAt('127.0.0.7', one.id));
    const user = await enrol('olaf');
    try {
      process.kill(silent.pid, 'SIGSTOP');
      await expect
        .poll(() => send('127.0.0.7', pap('olaf', 'guess')), { timeout: 10_000 })
        .toContain(REJECT);
      expect((await reasonsOf(user))[0]?.reason).toBe('target_unavailable');
      expect(await passwordFailuresOf(user)).toBe(1);
    } finally {
      await silent.stop();
    }
    expect(await send('127.0.0.1', pap('olaf', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
    expect(await passwordFailuresOf(user)).toBe(0);
  });

  it('believes no reply without Message-Authenticator unless it is told to', async () => {
    const user = await enrol('gijs');
    expect(await send('127.0.0.3', pap('gijs', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_unavailable');
    expect(await send('127.0.0.4', pap('gijs', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
  });

  it('does not ask on a target’s behalf, says so, and passes nobody who is no user', async () => {
    const user = await enrol('koen');
    expect(await send('127.0.0.1', pap('koen', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_challenge');
    expect(logged.filter((line) => line.includes('asks for more than a password'))).toHaveLength(1);
    expect(await send('127.0.0.1', pap('lars', RIGHT))).toContain(DENIED);
  });

  it('passes MSCHAPv2 with its keys hidden anew for the client, where no second step is needed', async () => {
    const user = await enrol('hugo', exempt);
    const proof = await makeMschapV2('hugo', RIGHT);
    const output = await send('127.0.0.1', proof);
    expect(output).toContain(ACCEPT);
    const direct = await runTool({
      command: 'radclient',
      args: ['-x', '-t', '4', `127.0.0.1:${target.port}`, 'auth', target.secret],
      input: [...proof, 'Message-Authenticator=0x00'].join(','),
    });
    // radclient shows keys as they are when it has opened them.
    const names = ['MS-', 'Filter-Id'];
    expect(receivedIn(output, ...names)).toEqual(receivedIn(direct, ...names));
    const told = receivedIn(output, 'MS-').join(' ');
    expect(told).toMatch(/MS-CHAP2-Success = 0x07533d.*/);
    expect(told).toMatch(/MS-MPPE-Recv-Key = 0x[0-9a-f]{32}\b/);
    expect(output.slice(output.indexOf('Received'))).toContain('Session-Timeout = 600');
    expect(await reasonsOf(user)).toEqual([{ reason: null, target: 'plain' }]);
  });

  it('denies MSCHAPv2 with a wrong password as MSCHAPv2 wants it, and counts it', async () => {
    const user = await enrol('ida', exempt);
    const output = await send('127.0.0.1', await makeMschapV2('ida', 'wrong'));
    expect(output).toContain(REJECT);
    expect(output).toContain('MS-CHAP-Error = "\\007E=691 R=0 C=');
    expect((await reasonsOf(user))[0]?.reason).toBe('wrong_password');
  });

  it('asks no target by MSCHAPv2 about whom no password lets in, and tells no right one from a wrong one', async () => {
    const user = await enrol('jan');
    for (const password of [RIGHT, 'wrong']) {
      const output = await send('127.0.0.1', await makeMschapV2('jan', password));
      expect(output).toContain(REJECT);
      expect(output).toContain(DENIED);
      expect(output).toContain('E=691 R=0');
    }
    expect(await reasonsOf(user)).toEqual([
      { reason: 'no_method_for_protocol', target: undefined },
      { reason: 'no_method_for_protocol', target: undefined },
    ]);
  });

  it('asks no target by MSCHAPv2 whose replies need no Message-Authenticator (rule 23)', async () => {
    await enrol('piet', exempt);
    const output = await send('127.0.0.4', await makeMschapV2('piet', RIGHT));
    expect(output).toContain(REJECT);
    expect(await unsigned.log()).not.toContain('User-Name = "piet"');
    expect(await send('127.0.0.4', pap('piet', RIGHT))).toContain(ACCEPT);
  });

  it('tells accounts that may not sign in from wrong passwords, where MSCHAPv2 says so', async () => {
    let error = 0;
    await using server = await RadiusServer.start({
      listen: [{ address: '127.0.0.1', port: 0, service: 'authentication' }],
      findClient: () => ({
        name: 'us',
        secret: Buffer.from(target.secret),
        messageAuthenticator: 'require',
      }),
      handle: async () => ({
        code: 3,
        attributes: [makeAttribute('MS-CHAP-Error', `\u0007E=${error} R=1 C=00 V=3 M=hush`)],
      }),
    });
    const windows = targetAt('windows', server.ports);
    await test.addRadiusTarget(windows);
    await test.addRadiusClient(clientAt('127.0.0.8', windows.id));
    const user = await enrol('rob', exempt);
    const denied = async (number: number) => {
      error = number;
      const output = await send('127.0.0.8', await makeMschapV2('rob', RIGHT));
      const event = (await reasonsOf(user)).at(-1);
      return [/E=(\d+) /.exec(receivedIn(output, 'MS-CHAP-Error')[0] ?? '')?.[1], event?.reason];
    };
    await expect.poll(() => denied(647), { timeout: 10_000 }).toEqual(['691', 'account_disabled']);
    expect(await denied(646)).toEqual(['691', 'account_not_now']);
    expect(await denied(648)).toEqual(['648', 'password_expired']);
    expect(await passwordFailuresOf(user)).toBe(0);
    expect(await denied(709)).toEqual(['691', 'wrong_password']);
    expect(await passwordFailuresOf(user)).toBe(1);
  });

  it('refuses MSCHAPv2 that is not whole', async () => {
    const [name, , response] = await makeMschapV2('hugo', RIGHT);
    expect(await send('127.0.0.1', [name!, response!])).toContain(DENIED);
  });

  it('lets a sign-in sent again to another node in with the same attributes', async () => {
    await enrol('mark');
    const typed = pap('mark', `${RIGHT},${code(0)}`);
    const [one, two] = fronts;
    for (const output of await Promise.all(
      [one!, two!, two!].map((at) => send('127.0.0.1', typed, { at })),
    )) {
      expect(output).toContain(ACCEPT);
      expect(output).toContain('Filter-Id = "inside"');
    }
  });

  it('lets a sign-in in that comes again with the same identifier while the target thinks', async () => {
    const slow = await startTestFreeradius({
      role: 'target',
      users: [{ name: 'sara', password: RIGHT, reply: ['Filter-Id := "inside"'] }],
    });
    const one = targetAt('slow', [slow.port], { timeoutMs: 10_000 });
    await test.addRadiusTarget(one);
    await test.addRadiusClient(clientAt('127.0.0.9', one.id));
    const user = await enrol('sara');
    await using peer = await openUdpPeer({ port: fronts[0]!.ports[0]!, from: '127.0.0.9' });
    const attributes = [
      makeAttribute('User-Name', 'sara'),
      makeAttribute('Calling-Station-Id', 'laptop'),
    ];
    const request = () =>
      signTestRequest({
        identifier: 9,
        attributes,
        password: `${RIGHT},${code(0)}`,
        secret: Buffer.from(door.shared),
      });
    try {
      await expect
        .poll(() => send('127.0.0.9', pap('nobody', RIGHT), { waitMs: 2000 }), { timeout: 8000 })
        .toContain(REJECT);
      process.kill(slow.pid, 'SIGSTOP');
      // The second takes the first one's place at the server, whose handler is told to stop.
      peer.send(request());
      peer.send(request());
      await expect.poll(() => unreadBytesAt(slow.port), { timeout: 5000 }).toBeGreaterThan(0);
      process.kill(slow.pid, 'SIGCONT');
      const [reply] = await peer.untilReceived(1);
      expect(reply?.[0]).toBe(2);
      expect((await reasonsOf(user)).filter(({ reason }) => reason !== null)).toEqual([]);
    } finally {
      await slow.stop();
    }
  });

  it('waits once for a first server that falls silent, and for one that is killed not at all', async () => {
    const first = await startTestFreeradius({ role: 'target', users: [] });
    const both = targetAt('both', [first.port, target.port], { timeoutMs: 12_000 });
    await test.addRadiusTarget(both);
    await test.addRadiusClient(clientAt('127.0.0.6', both.id));
    await enrol('nico');
    try {
      // The first knows nobody.
      await expect
        .poll(() => send('127.0.0.6', pap('nico', RIGHT), { waitMs: 2000 }), { timeout: 8000 })
        .toContain(REJECT);
      // Its port is there and silent.
      process.kill(first.pid, 'SIGSTOP');
      const tookMs: number[] = [];
      for (const counter of [0, 1, 2, 3]) {
        if (counter === 3) await first.kill();
        const startedAt = performance.now();
        const typed = pap('nico', `${RIGHT},${code(counter)}`);
        const output = await send('127.0.0.6', typed, { waitMs: 14_000 });
        expect(output).toContain(ACCEPT);
        tookMs.push(Math.round(performance.now() - startedAt));
      }
      console.log(
        `sign-ins past a dead RADIUS target, of 12,000 ms in all: ${tookMs.join(', ')} ms`,
      );
      // Its own share of the deadline, three packets long: 5 s.
      expect(tookMs[0]).toBeGreaterThan(4400);
      expect(tookMs[0]).toBeLessThan(9500);
      expect(Math.max(...tookMs.slice(1))).toBeLessThan(4400);
    } finally {
      await first.stop();
    }
  });
});
