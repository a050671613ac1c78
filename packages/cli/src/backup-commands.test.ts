import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildApi, ProblemError, type OperatorPorts } from '@countersign/api';
import { MemoryPorts, silentLogger } from '@countersign/api/testing';
import { readCluster } from '@countersign/backup';
import { makeExampleCluster, planted, type ExampleCluster } from '@countersign/backup/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

const identity = 'AGE-SECRET-KEY-19F6GUPCSHS2NLAQT9NA5Y08FY57ZRJ2P5XSVMKMRGVAF4WVEQNTQMK5Z50';
const recipient = 'age1ll3vs43tjvcyretpgyjj6e8d3rwwpkeqcfte5c3fy4nnj3c9qcaqeumtl4';

let cluster: ExampleCluster;
let directory: string;
let socket: string;
let backUp: OperatorPorts['backUp'];
let api: ReturnType<typeof buildApi>;

beforeAll(async () => {
  cluster = await makeExampleCluster();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-backup-'));
  socket = join(directory, 'countersign.sock');
  const ports = new MemoryPorts();
  const operator = {
    backUp: (...args: Parameters<OperatorPorts['backUp']>) => backUp(...args),
  } as OperatorPorts;
  api = buildApi(Object.assign(ports, { operator }), { logger: silentLogger(), local: true });
  await api.listen({ path: socket });
  writeFileSync(join(directory, 'identity'), `# made today\n${identity}\n`);
});
afterAll(async () => {
  await api.close();
  await cluster.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  backUp = async ({ withEvents }, take) => {
    const { signal } = new AbortController();
    await readCluster(cluster.db, { ...cluster.source, withEvents }, (lines) =>
      take(lines, signal),
    );
  };
});

function countersign(args: string[]) {
  const env = { COUNTERSIGN_SOCKET: socket, COUNTERSIGN_SERVER: 'http://127.0.0.1:1' };
  return runCountersign(args, { directory, env });
}

const left = (name: string) => readdirSync(directory).filter((each) => each.startsWith(name));

describe('countersign backup', () => {
  it('writes what the node at the socket knows, and verify says what it holds', async () => {
    let asked: unknown;
    const read = backUp;
    backUp = (how, take) => {
      asked = how;
      return read(how, take);
    };
    const args = ['backup', 'a.backup', '--recipient', recipient, '--events', '--why', 'test'];
    const made = await countersign(args);
    expect(made, made.stderr).toMatchObject({ code: 0, stderr: '' });
    expect(asked).toEqual({ withEvents: true, reason: 'test' });
    const verify = ['backup', 'verify', 'a.backup', '--identity-file', 'identity'];
    const told = await countersign(verify);
    expect(told.stdout).toContain('3 users, 8 documents');
    expect(told.stdout).toContain('1 events');
    const json = JSON.parse((await countersign([...verify, '--json'])).stdout) as object;
    expect(json).toMatchObject({ revision: 8, node: 'node-1', users: 3 });
    expect(readFileSync(join(directory, 'a.backup')).includes(planted.username)).toBe(false);
    const again = await countersign(args);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is there already') });
  }, 60_000);

  it('says why the node refused, broke off or fell silent, and leaves no file', async () => {
    const cases: [OperatorPorts['backUp'], string][] = [
      [
        async () => {
          throw new ProblemError(409, 'not_now', 'this node still catches up');
        },
        'this node still catches up (not_now)',
      ],
      [
        async (_how, take) => {
          const { signal } = new AbortController();
          await readCluster(cluster.db, cluster.source, (lines) => take(cutOff(lines), signal));
        },
        'the log is rebuilt',
      ],
      [
        async (_how, take) => {
          const { signal } = new AbortController();
          await readCluster(cluster.db, cluster.source, (lines) => take(upTo(lines, 2), signal));
        },
        'before its end',
      ],
    ];
    for (const [answer, message] of cases) {
      backUp = answer;
      const run = await countersign(['backup', 'b.backup', '--recipient', recipient]);
      expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
      expect(left('b.backup')).toEqual([]);
    }
  }, 60_000);

  it('takes no passphrase on the command line, and none that is short', async () => {
    const typed = await countersign([
      'backup',
      'c.backup',
      '--passphrase',
      'correct horse battery',
    ]);
    expect(typed.code).toBe(2);
    writeFileSync(join(directory, 'short'), 'short\n');
    const short = await countersign(['backup', 'c.backup', '--passphrase-file', 'short']);
    expect(short).toMatchObject({ code: 1, stderr: expect.stringContaining('less than 12') });
    const both = ['backup', 'c.backup', '--passphrase-file', 'short', '--recipient', recipient];
    expect((await countersign(both)).code).toBe(2);
    expect(left('c.backup')).toEqual([]);
  }, 60_000);

  it('verify refuses what is no backup before it asks for a secret', async () => {
    writeFileSync(join(directory, 'letter'), 'Dear all');
    chmodSync(join(directory, 'letter'), 0o600);
    const run = await countersign(['backup', 'verify', 'letter']);
    expect(run).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no backup of Countersign'),
    });
  }, 60_000);
});

async function* upTo(lines: AsyncIterable<string>, count: number): AsyncGenerator<string> {
  let soFar = 0;
  for await (const line of lines) {
    if ((soFar += 1) > count) return;
    yield line;
  }
}

async function* cutOff(lines: AsyncIterable<string>): AsyncGenerator<string> {
  yield* upTo(lines, 3);
  throw new Error('the log is rebuilt');
}
