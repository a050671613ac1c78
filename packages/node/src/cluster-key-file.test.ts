import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { prepareClusterKey } from './cluster-key-file.ts';
import { parseNodeConfig } from './config.ts';

let dataDirectory: string;
beforeEach(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), 'cs-key-'));
});
afterEach(() => rmSync(dataDirectory, { recursive: true }));

describe('the cluster key', () => {
  it('is made once by a node that is alone', () => {
    const key = prepareClusterKey(configure({}));
    expect(prepareClusterKey(configure({}))).toEqual(key);
  });

  it('is made by the founder of a cluster, and by no other member', () => {
    const logServers = ['node-1', 'node-2', 'node-3'].map((name, index) => ({
      name,
      host: '127.0.0.1',
      clientPort: 4222 + index,
      routePort: 6222 + index,
    }));
    expect(() => prepareClusterKey(configure({ logServers }))).toThrow('copy it from another node');
    expect(prepareClusterKey(configure({ logServers, found: true })).bytes.length).toBe(32);
  });

  it('is not made by a node that only uses the log server of another', () => {
    const other = { name: 'node-2', host: '127.0.0.1', clientPort: 4222, routePort: 6222 };
    expect(() => prepareClusterKey(configure({ logServers: [other] }))).toThrow('is missing');
  });

  it.each([false, true])('is not replaced where data needs the lost one (found: %s)', (found) => {
    mkdirSync(join(dataDirectory, 'postgres'));
    expect(() => prepareClusterKey(configure({ found }))).toThrow('put it back');
  });
});

function configure(more: object) {
  const text = JSON.stringify({ name: 'node-1', dataDirectory, ...more });
  return parseNodeConfig(text, 'node.json');
}
