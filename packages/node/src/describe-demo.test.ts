import { describe, expect, it } from 'vitest';

import { describeDemo } from './describe-demo.ts';

const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const nodes = [1, 2, 3].map((n) => ({
  name: `node-${n}`,
  url: `http://127.0.0.1:${8079 + n}`,
  supervisorPid: 4_000_000 + n,
  agentPid: 4_000_010 + n,
  workerPids: [4_000_020 + n],
  natsPid: 4_000_030 + n,
  postgresPid: 4_000_040 + n,
}));
const demo = {
  directory: './demo-data',
  isDefaultDirectory: true,
  nodes,
  cluster: {
    master: 'node-2',
    nodes: nodes.map(({ name }) => ({
      name,
      role: name === 'node-2' ? ('master' as const) : ('subordinate' as const),
      online: true,
      behind: 0,
    })),
  },
  radius: nodes.map((_, n) => ({ host: '127.0.0.1', port: 8201 + n, secret: 's'.repeat(32) })),
  otpauth: `otpauth://totp/Countersign:alice?secret=${secret}&issuer=Countersign`,
  admin: { username: 'admin' },
  durationMs: 9_870,
};

describe('the table of a demo', () => {
  it('fits into 80 columns', () => {
    for (const directory of ['./demo-data', '/var/lib/countersign-demo']) {
      const text = describeDemo({ ...demo, directory, isDefaultDirectory: false });
      const tooLong = text.split('\n').filter((line) => line.length > 80);
      // The list of servers is one word.
      expect(tooLong.filter((line) => !line.includes('COUNTERSIGN_SERVER='))).toEqual([]);
    }
  });

  it('names every node with its role, and how to kill the master, supervisor first', () => {
    const text = describeDemo(demo);
    expect(text).toMatch(/node-1 +http:\/\/127\.0\.0\.1:8080 +subordinate/);
    expect(text).toMatch(/node-2 +http:\/\/127\.0\.0\.1:8081 +master/);
    expect(text).toContain('kill -9 4000002 4000012 4000022 4000032 4000042\n');
    expect(text).toContain('countersign node --config ./demo-data/node-2/node.yaml\n');
    expect(text).toContain('countersign promote node-1\n');
    expect(text).toContain(`radclient 127.0.0.1:8201 auth ${'s'.repeat(32)}\n`);
    expect(text).toContain(`oathtool --totp -b ${secret}\n`);
  });

  it('tells the command line where to look when that is not the usual folder', () => {
    expect(describeDemo(demo)).not.toContain('export');
    const text = describeDemo({ ...demo, directory: '/tmp/d', isDefaultDirectory: false });
    expect(text).toContain('COUNTERSIGN_SERVER=http://127.0.0.1:8080,http://127.0.0.1:8081,');
    expect(text).toContain('COUNTERSIGN_API_KEY=$(cat /tmp/d/api-key)');
    const spaced = describeDemo({ ...demo, directory: '/tmp/a tour', isDefaultDirectory: false });
    expect(spaced).toContain("$(cat '/tmp/a tour/api-key')");
    expect(spaced).toContain("--config '/tmp/a tour/node-2/node.yaml'\n");
  });

  it('does not speak of taking over where there is one node', () => {
    const text = describeDemo({ ...demo, nodes: nodes.slice(1, 2) });
    expect(text).toMatch(/^Countersign: 1 node is ready after 9\.9 s\n/);
    expect(text).not.toContain('kill -9');
    expect(text).not.toContain('promote');
  });
});
