import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { layOutDemo } from './demo-layout.ts';
import { writeDemoState } from './demo-state.ts';
import { prepareDemoFolder } from './prepare-demo-folder.ts';
import { processIdentity } from './process-identity.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cs-demo-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('preparing the folder of a demo', () => {
  it('gives all nodes the same key, readable by its owner only', () => {
    prepare({ nodes: 3 });
    const files = [1, 2, 3].map((n) => join(directory, `node-${n}`, 'cluster.key'));
    expect(new Set(files.map((file) => readFileSync(file, 'utf8'))).size).toBe(1);
    for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('continues an earlier demo with its key and what it remembers', () => {
    const state = prepare({ nodes: 2 });
    const key = readKey();
    const authenticator = { id: 'a', otpauth: 'otpauth://totp/a' };
    const administrator = { username: 'admin', password: 'p', otpauth: 'otpauth://totp/b' };
    const secrets = { apiKey: 'secret', radiusSecret: 'shared', invitation: null };
    const kept = { ...secrets, authenticator, administrator };
    writeDemoState(directory, { ...state, ...kept });
    expect(prepare({ nodes: 2 })).toEqual({ nodes: 2, ...kept });
    expect(readKey()).toBe(key);
    expect(statSync(join(directory, 'api-key')).mode & 0o777).toBe(0o600);
  });

  it('never makes a second key for nodes that have data', () => {
    prepare({ nodes: 1 });
    mkdirSync(join(directory, 'node-1', 'postgres'));
    rmSync(join(directory, 'node-1', 'cluster.key'));
    prepare({ nodes: 1 });
    expect(existsSync(join(directory, 'node-1', 'cluster.key'))).toBe(false);
  });

  it('refuses to continue with another number of nodes', () => {
    prepare({ nodes: 3 });
    expect(() => prepare({ nodes: 2 })).toThrow('holds a demo of 3 nodes: continue it with');
  });

  it('begins anew when asked, and leaves what is not its own', () => {
    prepare({ nodes: 3 });
    const key = readKey();
    writeFileSync(join(directory, 'demo.log'), 'mine');
    expect(prepare({ nodes: 2, fresh: true })).toMatchObject({ nodes: 2, apiKey: null });
    expect(readKey()).not.toBe(key);
    expect(existsSync(join(directory, 'node-3'))).toBe(false);
    expect(existsSync(join(directory, 'demo.log'))).toBe(true);
  });

  it.each([true, false])('leaves nodes that belong to no demo alone (fresh: %s)', (fresh) => {
    mkdirSync(join(directory, 'node-1'));
    expect(() => prepare({ nodes: 1, fresh })).toThrow('belong to no demo');
    expect(existsSync(join(directory, 'node-1'))).toBe(true);
  });

  it('does not remove a node that still runs', () => {
    prepare({ nodes: 1 });
    const identity = processIdentity(process.ppid);
    writeFileSync(join(directory, 'node-1', `.supervisor.${identity}.lock`), '');
    expect(() => prepare({ nodes: 1, fresh: true })).toThrow('still runs');
    expect(existsSync(join(directory, 'node-1', 'cluster.key'))).toBe(true);
  });
});

function prepare({ nodes, fresh = false }: { nodes: number; fresh?: boolean }) {
  const layout = layOutDemo({ directory, nodes, basePort: 8080, workers: 1 });
  return prepareDemoFolder({ directory, nodes: layout, fresh });
}

function readKey(): string {
  return readFileSync(join(directory, 'node-1', 'cluster.key'), 'utf8');
}
