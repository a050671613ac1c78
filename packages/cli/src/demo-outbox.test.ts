import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildApi, type OutboxEntry } from '@countersign/api';
import { MemoryPorts, silentLogger } from '@countersign/api/testing';
import { isSafeText } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

const entries: OutboxEntry[] = [];
const ports = Object.assign(new MemoryPorts(), { readDemoOutbox: async () => entries });
ports.addKey('all');
const api = buildApi(ports, { logger: silentLogger() });
const directory = mkdtempSync(join(tmpdir(), 'countersign-outbox-'));
let url: string;
beforeAll(async () => {
  url = await api.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
});

const run = (...args: string[]) =>
  runCountersign(args, {
    directory,
    env: { COUNTERSIGN_SERVER: url, COUNTERSIGN_API_KEY: 'all' },
  });

describe('countersign demo outbox', () => {
  it('shows texts and mails, safe for a terminal, and nothing where nothing was sent', async () => {
    expect((await run('demo', 'outbox')).stdout).toBe('nothing was sent yet\n');
    const at = '2026-05-01T12:00:00.000Z';
    entries.push(
      { kind: 'text', at, id: '1', to: '+31612345678', subject: null, text: 'code 123456' },
      {
        kind: 'mail',
        at,
        id: '2',
        to: 'a@b.example',
        subject: 'Hello',
        text: 'One\n\u001b[2Jtwo\n',
      },
    );
    const shown = await run('demo', 'outbox');
    expect(shown.code).toBe(0);
    expect(shown.stdout).toContain(
      '2026-05-01 12:00:00  text to +31612345678\n    code 123456\n\n',
    );
    expect(shown.stdout).toContain('mail to a@b.example: Hello\n    One\n');
    expect(shown.stdout.split('\n').every((line) => isSafeText(line))).toBe(true);
    expect(JSON.parse((await run('demo', 'outbox', '--json')).stdout)).toEqual({ entries });
  });

  it('stands beside the demo itself', async () => {
    const help = await run('demo', '--help');
    expect(help.stdout).toContain('--base-port');
    expect(help.stdout).toContain('outbox');
    const refused = await run('demo', '--nodes', '9', '--dir', join(directory, 'none'));
    expect(refused.stderr).toContain('number of nodes must be');
  });
});
