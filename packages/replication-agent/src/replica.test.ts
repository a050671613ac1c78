import { randomUUID } from 'node:crypto';
import { ChangeLog } from '@countersign/cluster';
import { applyChanges, readApplied } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { describe, expect, it } from 'vitest';
import { Replica } from './replica.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();

async function start() {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const db = await test.openDatabase();
  const sealer = sealerOf(test.makeKeys().document);
  const log = new ChangeLog(link, incarnation, sealer);
  return { link, incarnation, db, sealer, log };
}

function openReplica(setting: Awaited<ReturnType<typeof start>>): Promise<Replica> {
  return Replica.open({
    ...setting,
    onApplied: () => undefined,
    onDiverged: async () => undefined,
    log: silent,
  });
}

function follow(replica: Replica): void {
  const stop = new AbortController();
  const following = replica.follow(stop.signal);
  test.atEnd(() => {
    stop.abort();
    return following;
  });
}

/** A change of no consequence at the position after `end`. */
async function append(log: ChangeLog, end: number, kind = 'probe'): Promise<number> {
  const outcome = await log.append(
    {
      epoch: 1,
      changeId: randomUUID(),
      commandId: null,
      kind,
      id: randomUUID(),
      at: new Date().toISOString(),
      actor: 'test',
      removed: false,
      document: { at: 'now' },
      commands: [],
    },
    end,
  );
  if (outcome.kind !== 'stored') throw new Error(outcome.kind);
  return outcome.sequence;
}

function probe(revision: number): Parameters<typeof applyChanges>[1][number] {
  return {
    revision,
    epoch: 1,
    kind: 'probe',
    id: `earlier-${revision}`,
    at: new Date().toISOString(),
    removed: false,
    bytes: Buffer.from('{}'),
    document: null,
    commands: [],
  };
}

describe('a replica', () => {
  it('goes on after a commit whose answer was lost', async () => {
    const setting = await start();
    const replica = await openReplica(setting);
    for (let end = 0; end < 3; end += 1) await append(setting.log, end);
    await applyChanges(setting.db, [probe(1)]);
    follow(replica);
    expect(await replica.waitFor(3, 8000)).toBe(true);
  });

  it('applies what stands before a change that it cannot read, and says where it stopped', async () => {
    const setting = await start();
    for (let end = 0; end < 3; end += 1) await append(setting.log, end);
    await append(setting.log, 3, 'node');
    await append(setting.log, 4);
    const replica = await openReplica(setting);
    follow(replica);
    expect(await replica.waitFor(3, 8000)).toBe(true);
    await waitFor('the problem', () => replica.problem, { timeoutMs: 5000 });
    expect(replica.problem).toMatch(/^change 4 cannot be read \(node document is not valid/);
    expect((await readApplied(setting.db))?.revision).toBe(3);
  });

  it('is fit again once the log reaches as far as it is, without another change', async () => {
    const setting = await start();
    await openReplica(setting);
    await applyChanges(setting.db, [probe(1), probe(2)]);
    const replica = await openReplica(setting);
    follow(replica);
    await waitFor('the problem', () => replica.problem, { timeoutMs: 5000 });
    expect(replica.problem).toBe("the log ends at 0, before this node's revision 2");
    await append(setting.log, 0);
    await append(setting.log, 1);
    await waitFor('the end of it', () => replica.problem === null, { timeoutMs: 5000 });
    expect(replica.applied.revision).toBe(2);
  });
});
