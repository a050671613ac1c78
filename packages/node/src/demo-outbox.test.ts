import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { nodeConfigSchema, parseNodeConfig } from './config.ts';
import { layOutDemo } from './demo-layout.ts';
import { findDemoOutbox } from './demo-outbox.ts';
import { prepareDemoFolder } from './prepare-demo-folder.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cs-outbox-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const prepare = (fresh: boolean) =>
  prepareDemoFolder({
    directory,
    nodes: layOutDemo({ directory, nodes: 1, basePort: 9_100, workers: 1 }),
    fresh,
  });

function outboxOf(differs: object = {}): string | null {
  const dataDirectory = join(directory, 'node-1');
  const text = JSON.stringify({ name: 'node-1', dataDirectory, ...differs });
  return findDemoOutbox(parseNodeConfig(text, join(dataDirectory, 'node.yaml')));
}

describe('the outbox of a demo', () => {
  it('is only for nodes in a folder that a demo has made; no configuration can ask for it', () => {
    expect(outboxOf()).toBe(null);
    prepare(false);
    expect(outboxOf()).toBe(join(directory, 'outbox.jsonl'));
    expect(outboxOf({ name: 'mfa-1' })).toBe(null);
    expect(outboxOf({ dataDirectory: join(directory, 'node-1', 'data') })).toBe(null);
    const open = { name: 'node-1', dataDirectory: join(directory, 'node-1') };
    expect(findDemoOutbox({ ...open, http: { host: '192.0.2.1' } })).toBe(null);
    const asked = { name: 'node-1', dataDirectory: '/srv', outboxFile: '/tmp/x' };
    expect(nodeConfigSchema.safeParse(asked).success).toBe(false);
  });

  it('goes when the demo is begun anew', () => {
    const file = join(directory, 'outbox.jsonl');
    writeFileSync(file, 'a code');
    prepare(false);
    expect(existsSync(file)).toBe(true);
    prepare(true);
    expect(existsSync(file)).toBe(false);
  });
});
