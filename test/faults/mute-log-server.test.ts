import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTestNatsServer } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestCluster } from '../harness/cluster.ts';
import { report } from '../harness/report.ts';

const folder = mkdtempSync('/var/tmp/countersign-mute-');
let cluster: TestCluster;
let formedMs: number;

beforeAll(async () => {
  chmodSync(folder, 0o755);
  const before = process.env.COUNTERSIGN_NATS_SERVER;
  process.env.COUNTERSIGN_NATS_SERVER = writeWrapper(await findTestNatsServer());
  const startedAt = performance.now();
  try {
    cluster = await TestCluster.start();
  } finally {
    if (before === undefined) delete process.env.COUNTERSIGN_NATS_SERVER;
    else process.env.COUNTERSIGN_NATS_SERVER = before;
  }
  formedMs = performance.now() - startedAt;
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

it('a log server that comes up mute is started again, and the cluster forms', async () => {
  await cluster.untilWhole();
  const restarted = cluster.nodes.map(
    (node) => node.log('supervisor').match(/do not hear this one/g)?.length ?? 0,
  );
  report('a log server that came up mute', { formedMs: Math.round(formedMs) });
  expect(restarted).toEqual([0, 0, 1]);
  await cluster.untilDigestsEqual();
});

/**
 * A nats-server of which node-3's speaks to nobody when it starts for the first time: it learns of nobody who wants
 * to hear what its raft groups say. The real defect is a race that cannot be forced.
 */
function writeWrapper(binary: string): string {
  const wrapper = join(folder, 'nats-server');
  writeFileSync(
    wrapper,
    `#!/bin/sh
if [ "$1" = --config ] && ! [ -e "${folder}/was-mute" ]; then
  case "$2" in
    */node-3/*)
      touch "${folder}/was-mute"
      sed -i 's/^cluster {/cluster {\\n  permissions { export: { deny: ["$NRG.>"] } }/' "$2" ;;
  esac
fi
exec "${binary}" "$@"
`,
    { mode: 0o755 },
  );
  return wrapper;
}
