import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StoredEvent } from '@countersign/api';
import { startApi } from '@countersign/api/testing';
import { isSafeText } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawOver } from './watch-status.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const DEADLINE_MS = 15_000;
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-watching-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** A program that runs until it is told to end, and what it has printed so far. */
function start(args: string[], servers: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: directory,
    env: {
      TZ: 'UTC',
      NODE_COMPILE_CACHE: join(directory, 'compiled'),
      COUNTERSIGN_SERVER: servers.join(','),
      COUNTERSIGN_API_KEY: 'all',
    },
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  const printed = { out: '', error: '' };
  child.stdout.on('data', (data) => (printed.out += String(data)));
  child.stderr.on('data', (data) => (printed.error += String(data)));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return {
    child,
    printed,
    ended,
    async until(condition: () => boolean): Promise<void> {
      const deadline = performance.now() + DEADLINE_MS;
      while (!condition()) {
        if (performance.now() > deadline) throw new Error(JSON.stringify(printed));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    /** Its exit code after Ctrl-C. */
    interrupt(): Promise<number | null> {
      child.kill('SIGINT');
      return ended;
    },
  };
}

function event(id: string, more: Partial<StoredEvent> = {}): StoredEvent {
  return {
    id,
    at: '2026-03-01T03:12:45.000Z',
    type: 'verification',
    node: 'node-2',
    user: 'vera',
    actor: null,
    application: 'vpn',
    clientAddress: '192.0.2.7',
    result: 'approved',
    reason: null,
    degraded: false,
    durationMs: 12,
    details: {},
    ...more,
  };
}

const idsIn = (lines: string) =>
  lines
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as StoredEvent).id);

describe('events --follow', () => {
  it('goes on at another server when its own is gone, and shows each event once', async () => {
    const [first, second] = [await startApi(), await startApi()];
    const both = (...events: StoredEvent[]) => {
      for (const server of [first, second]) server.ports.events.push(...events);
    };
    both(event('before'));
    const run = start(['events', '--follow', '--json', '--since', '1h'], [first.url, second.url]);
    await run.until(() => run.printed.out.includes('before'));
    both(event('a'), event('b'));
    await run.until(() => run.printed.out.includes('"b"'));
    await first.close();
    both(event('c'));
    await run.until(() => run.printed.out.includes('"c"'));
    await second.close();
    await run.until(() => run.printed.error.includes('trying again'));
    expect(await run.interrupt()).toBe(0);
    expect(idsIn(run.printed.out)).toEqual(['before', 'a', 'b', 'c']);
  });

  it('begins with now, in columns, and lets nothing in them reach the terminal', async () => {
    const server = await startApi();
    server.ports.events.push(event('before', { user: 'nobody' }));
    const run = start(['events', '-f'], [server.url]);
    // With the answer to its first request it knows where now is; that it has it is seen by the second.
    await run.until(() => server.ports.credentials.length > 1);
    server.ports.events.push(event('now', { user: 'eve\u001b[2J' }));
    await run.until(() => run.printed.out.includes('eve'));
    expect(run.printed.out).toMatch(
      /^TIME +EVENT .*\n2026-03-01 03:12:45 +verification +eve\\u\{1b\}\[2J +approved .*node-2 +12\n$/,
    );
    expect(isSafeText(run.printed.out.replaceAll('\n', ''))).toBe(true);
    expect(await run.interrupt()).toBe(0);
    await server.close();
  });

  it('exits 0 when nobody reads its output any more', async () => {
    const server = await startApi();
    const run = start(['events', '--follow', '--json', '--since', '1h'], [server.url]);
    server.ports.events.push(event('first'));
    await run.until(() => run.printed.out.includes('first'));
    run.child.stdout.destroy();
    server.ports.events.push(event('second'));
    expect(await run.ended).toBe(0);
    await server.close();
  });

  it('exits 1 when it is refused, and 2 with a limit', async () => {
    const server = await startApi();
    server.ports.keys.clear();
    const refused = start(['events', '--follow'], [server.url]);
    expect(await refused.ended).toBe(1);
    expect(refused.printed.error).toContain('unauthorized');
    expect(await start(['events', '--follow', '--limit', '3'], [server.url]).ended).toBe(2);
    await server.close();
  });
});

describe('status --watch', () => {
  it('prints a block each time, says when nobody answers, and goes on', async () => {
    const server = await startApi();
    const run = start(['status', '--watch', '1'], [server.url]);
    const blocks = () => run.printed.out.split('OK: verification and changes work').length - 1;
    await run.until(() => blocks() >= 2);
    await server.close();
    await run.until(() =>
      /nothing listens there[^]*last answer .* ago; trying again/.test(run.printed.out),
    );
    expect(run.printed.out).not.toContain('\u001b');
    expect(await run.interrupt()).toBe(0);
  });

  it('with --json prints a line each time', async () => {
    const server = await startApi();
    const run = start(['status', '--watch', '1', '--json'], [server.url]);
    await run.until(() => run.printed.out.split('\n').length > 2);
    await server.close();
    await run.until(() => run.printed.out.includes('"error"'));
    expect(await run.interrupt()).toBe(0);
    const lines = run.printed.out.trim().split('\n');
    expect(JSON.parse(lines[0]!)).toMatchObject({ master: 'node-1', quorum: true });
    expect(JSON.parse(lines.at(-1)!)).toEqual({
      at: expect.any(String),
      error: expect.stringContaining('no answer from'),
    });
  });

  it('takes no interval but whole seconds up to an hour', async () => {
    for (const seconds of ['0', '3601', 'soon']) {
      expect(await start(['status', '--watch', seconds], ['http://127.0.0.1:1']).ended).toBe(2);
    }
  });

  it('draws over what stands there line by line, and no more than fits', () => {
    expect(drawOver(['one', 'two'], 24)).toBe('\u001b[Hone\u001b[K\ntwo\u001b[K\n\u001b[J');
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    const drawn = drawOver(lines, 11).split('\n');
    expect(drawn).toHaveLength(11);
    expect(drawn[9]).toContain('… 21 more lines');
  });
});
