import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTestNatsServer, takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findOrBeginIncarnation } from './incarnation.ts';
import { askWhetherHeard } from './log-server-voice.ts';
import { NatsLink } from './nats-link.ts';

const names = ['one', 'two', 'three'];
const folder = mkdtempSync(join(tmpdir(), 'countersign-voice-'));
const running = new Map<string, ChildProcess>();
const links = new Map<string, NatsLink>();
let binary: string;
let ports: number[];

beforeAll(async () => {
  binary = await findTestNatsServer();
  ports = await takeFreePorts(6);
  for (const [i, name] of names.entries()) {
    start(name, { isMute: name === 'three' });
    links.set(
      name,
      new NatsLink({
        servers: [`127.0.0.1:${ports[i]}`],
        user: 'test',
        password: 'test',
        name,
        log: { info() {}, warn() {} },
      }),
    );
  }
});
afterAll(async () => {
  await Promise.all([...links.values()].map((link) => link.close()));
  await Promise.all([...running.keys()].map((name) => stop(name, 'SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

it('a mute log server is told from the others before there is any stream', async () => {
  await untilHeard('one');
  await untilHeard('two');
  expect(await answerAbout('three')).toBe('unheard');
}, 90_000);

it('a log server that was started again is heard, and the first stream can be made', async () => {
  await restart('three', { isMute: false });
  await untilHeard('three');
  await waitFor('an incarnation', () => begin(), { timeoutMs: 30_000, everyMs: 100 });
  for (const name of names) await untilHeard(name);
}, 90_000);

it('a log server that comes up mute later is told from the others by what the leader says', async () => {
  await restart('three', { isMute: true });
  await waitFor('an answer', async () => (await voiceOf('three')) === 'unheard', {
    timeoutMs: 30_000,
    everyMs: 100,
  });
  await untilHeard('one');
  await untilHeard('two');
  expect(await answerAbout('three')).toBe('unheard');
}, 90_000);

it('without a leader nobody is called mute', async () => {
  await stop('one');
  await stop('two');
  expect(await voiceOf('three')).toBe('unknown');
}, 90_000);

async function begin(): Promise<boolean> {
  return findOrBeginIncarnation(links.get('one')!, { logReplicas: 3 }).then(
    () => true,
    () => false,
  );
}

function voiceOf(name: string) {
  return askWhetherHeard(links.get(name)!, name);
}

/** The first answer there is: on a busy machine it may take longer than one ask waits. */
function answerAbout(name: string) {
  const answer = async () => {
    const voice = await voiceOf(name);
    return voice === 'unknown' ? null : voice;
  };
  return waitFor(`an answer about ${name}`, answer, { timeoutMs: 30_000, everyMs: 100 });
}

async function untilHeard(name: string): Promise<void> {
  await waitFor(`${name} to be heard`, async () => (await voiceOf(name)) === 'heard', {
    timeoutMs: 30_000,
    everyMs: 100,
  });
}

async function restart(name: string, how: { isMute: boolean }): Promise<void> {
  await stop(name);
  start(name, how);
}

async function stop(name: string, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  const child = running.get(name)!;
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

function start(name: string, { isMute }: { isMute: boolean }): void {
  const i = names.indexOf(name);
  const others = ports.slice(3).filter((_, other) => other !== i);
  // It learns of nobody who wants to hear what its raft groups say, so it says nothing.
  const permissions = isMute ? 'permissions { export: { deny: ["$NRG.>"] } }' : '';
  const config = `
    server_name: ${name}
    server_tags: [${name}]
    listen: "127.0.0.1:${ports[i]}"
    authorization { user: test, password: test }
    jetstream { store_dir: "${join(folder, name)}", max_file_store: 64MB, max_memory_store: 1MB }
    cluster {
      name: voice
      listen: "127.0.0.1:${ports[3 + i]}"
      ${permissions}
      routes: [${others.map((port) => `"nats-route://127.0.0.1:${port}"`).join(', ')}]
    }`;
  const file = join(folder, `${name}.conf`);
  writeFileSync(file, config);
  // With more threads it may come up mute by itself on a busy machine (docs/decisions.md).
  const env = { ...process.env, GOMAXPROCS: '1' };
  running.set(name, spawn(binary, ['--config', file, '-l', join(folder, `${name}.log`)], { env }));
}
