import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { findContradictions } from '../history/check.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { PatchedCopy, type Patch } from '../history/patched-copy.ts';
import type { ReplicaDump } from '../history/records.ts';

const SCENARIO = 'test/history/straggler-scenario.ts';
const OWN_SCENARIO = fileURLToPath(new URL('../history/straggler-scenario.ts', import.meta.url));

const noBarrier: Patch = {
  file: 'packages/cluster/src/change-log.ts',
  find: 'const start = await this.#readEnd();',
  replace: `const start = await this.#readEnd();
    if (start) return { kind: 'stands', end: start.lastSequence };`,
};
const shortBarrier: Patch = {
  file: 'packages/cluster/src/change-log.ts',
  find: 'export const BARRIER_MESSAGES = 128;',
  replace: 'export const BARRIER_MESSAGES = 1;',
};
const answersBeforeTheWrite: Patch = {
  file: 'packages/auth-worker/src/verifier.ts',
  find: 'await states.write(',
  replace: 'await inBackground(states)(',
  append: `
function inBackground(states: VerifierOptions['states']) {
  return async (...args: Parameters<VerifierOptions['states']['write']>) => {
    states.write(...args).catch(() => undefined);
    return { kind: 'written' as const, revision: 0 };
  };
}
`,
};
const skipsChanges: Patch = {
  file: 'packages/replication-agent/src/replica.ts',
  find: 'changes.push(this.#decode(message));',
  replace: `const change = this.#decode(message);
        if (change.kind !== 'user' || change.revision % 4 !== 0) changes.push(change);`,
};

/** A checker that cannot fail is a defect: the product with a fault in it must be caught. */
describe('the checker', () => {
  it('finds nothing wrong with a log into which stragglers of an older master arrive', async () => {
    expect(findContradictions([], [await runScenario(OWN_SCENARIO)])).toEqual([]);
  });

  it.each([
    { how: 'without a barrier', patch: noBarrier },
    { how: 'with a barrier of one message', patch: shortBarrier },
  ])('catches a master that starts $how: a straggler landed', async ({ how, patch }) => {
    using copy = new PatchedCopy([patch]);
    const startedAt = performance.now();
    const found = findContradictions([], [await runScenario(copy.path(SCENARIO))]);
    const caughtMs = Math.round(performance.now() - startedAt);
    report(`checker, master ${how}`, { caughtMs, says: `"${found[0]?.says}"` });
    expect(found.map(({ says }) => says)).toContainEqual(
      expect.stringMatching(/^epoch 1 wrote at revision \d+, after epoch 2 at revision \d+/),
    );
  });

  it('catches a verifier that answers before its compare-and-set', async () => {
    using copy = new PatchedCopy([answersBeforeTheWrite]);
    const startedAt = performance.now();
    await using cluster = await TestCluster.start({ nodes: 2, programOf: () => copy.commandLine });
    const people = await enrolPeople(cluster.api(await cluster.master()), 'twice', 5);
    await cluster.untilDigestsEqual();
    for (const person of people) {
      const { username } = person;
      const code = person.nextCode();
      await Promise.all(cluster.nodes.map((node) => cluster.api(node).verify({ username, code })));
    }
    await expect(expectHistoryHolds(cluster)).rejects.toThrow(
      /^promise 4 is broken: twice-\d's hotp 0 was approved twice/,
    );
    report('checker, verifier that answers before its write', {
      caughtMs: Math.round(performance.now() - startedAt),
    });
  });

  it('catches a replica that skips changes', async () => {
    using copy = new PatchedCopy([skipsChanges]);
    const startedAt = performance.now();
    await using cluster = await TestCluster.start({
      nodes: 2,
      programOf: (name) => (name === 'node-2' ? copy.commandLine : undefined),
    });
    const api = cluster.api(await cluster.master());
    for (let i = 0; i < 8; i += 1) {
      await api.done('POST', '/api/v1/users', { username: `skipped-${i}` });
    }
    await expect(expectHistoryHolds(cluster)).rejects.toThrow(
      /^promise 2 is broken: an acknowledged write is missing on node-2/,
    );
    report('checker, replica that skips changes', {
      caughtMs: Math.round(performance.now() - startedAt),
    });
  });
});

async function runScenario(program: string): Promise<ReplicaDump> {
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    timeout: 60_000,
    maxBuffer: 8 << 20,
  });
  return JSON.parse(stdout) as ReplicaDump;
}
