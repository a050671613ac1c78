import { randomUUID } from 'node:crypto';
import { ChangeLog, type EpochMark, type Incarnation, type NatsLink } from '@countersign/cluster';
import { sealerOf } from '@countersign/operations';
import { describe, expect, it } from 'vitest';
import { findDivergence } from './log-history.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const RUN = 128;

/** A log of its own, written by masters of the test. */
async function start() {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const log = new ChangeLog(link, incarnation, sealerOf(test.makeKeys().document));
  let end = 0;
  return {
    link,
    incarnation,
    /** Returns what a replica remembers of it. */
    async beginEpoch(epoch: number, instance: string = randomUUID()): Promise<EpochMark> {
      const outcome = await log.raiseBarrier({ epoch, instance, node: 'node-1', leastEnd: end });
      if (outcome.kind !== 'stands') throw new Error(outcome.kind);
      end = outcome.end;
      return remembered({ epoch, firstRevision: end - RUN + 1, instance });
    },
    /** `count` changes, of one document or of as many. */
    async write(count: number, id: string | null = null): Promise<void> {
      for (let i = 0; i < count; i += 1) {
        const outcome = await log.append(
          {
            epoch: 1,
            changeId: randomUUID(),
            commandId: null,
            kind: 'probe',
            id: id ?? randomUUID(),
            at: new Date().toISOString(),
            actor: 'test',
            removed: false,
            document: {},
            commands: [],
          },
          end,
        );
        if (outcome.kind !== 'stored') throw new Error(outcome.kind);
        end += 1;
      }
    },
  };
}

function remembered(about: {
  epoch: number;
  firstRevision: number;
  instance: string;
  index?: number;
}): EpochMark {
  const { epoch, firstRevision, instance, index = RUN } = about;
  const revision = firstRevision + index - 1;
  const at = new Date().toISOString();
  return { format: 1, revision, epoch, instance, node: 'node-1', at, index, of: RUN };
}

function divergenceOf(
  log: { link: NatsLink; incarnation: Incarnation },
  revision: number,
  marks: EpochMark[],
): Promise<number | null> {
  return findDivergence({ ...log, place: { revision }, marks });
}

describe('a replica finds itself', () => {
  it('in the history of a log that goes on behind it, however much of that is compacted away', async () => {
    const log = await start();
    const first = await log.beginEpoch(1);
    await log.write(6, 'one-document');
    const second = await log.beginEpoch(2);
    await log.write(3);
    await log.beginEpoch(3);
    expect(await divergenceOf(log, 0, [])).toBeNull();
    expect(await divergenceOf(log, 130, [first])).toBeNull();
    expect(await divergenceOf(log, 265, [first, second])).toBeNull();
  });

  it('in the history of a log whose barrier it has applied in part', async () => {
    const log = await start();
    const first = await log.beginEpoch(1, 'a');
    const { epoch } = await log.beginEpoch(2, 'b');
    const part = remembered({ epoch, firstRevision: 129, instance: 'b', index: 40 });
    expect(await divergenceOf(log, 168, [first, part])).toBeNull();
    const other = remembered({ epoch, firstRevision: 129, instance: 'c', index: 40 });
    expect(await divergenceOf(log, 168, [first, other])).toBe(129);
  });

  it('in the history of a log that is only shorter, or empty: that is for a rebuild', async () => {
    const log = await start();
    expect(await divergenceOf(log, 5, [])).toBeNull();
    const first = await log.beginEpoch(1);
    await log.write(2);
    expect(await divergenceOf(log, 140, [first])).toBeNull();
    const lost = remembered({ epoch: 2, firstRevision: 141, instance: 'a' });
    expect(await divergenceOf(log, 300, [first, lost])).toBeNull();
  });
});

describe('a replica finds that its tail is its own', () => {
  it('where a new epoch begins inside of it', async () => {
    const log = await start();
    const first = await log.beginEpoch(1);
    await log.write(5);
    await log.beginEpoch(2);
    expect(await divergenceOf(log, 133, [first])).toBeNull();
    expect(await divergenceOf(log, 134, [first])).toBe(134);
    expect(await divergenceOf(log, 140, [first])).toBe(134);
  });

  it('where the log has lost an epoch and begun another', async () => {
    const log = await start();
    const first = await log.beginEpoch(1);
    await log.write(5);
    await log.beginEpoch(3);
    const lost = remembered({ epoch: 2, firstRevision: 131, instance: 'a' });
    expect(await divergenceOf(log, 300, [first, lost])).toBe(131);
  });

  it('where an epoch of one number stands at two places', async () => {
    const log = await start();
    const first = await log.beginEpoch(1);
    await log.write(5);
    await log.beginEpoch(2);
    const earlier = remembered({ epoch: 2, firstRevision: 131, instance: 'a' });
    expect(await divergenceOf(log, 300, [first, earlier])).toBe(131);
    const later = remembered({ epoch: 2, firstRevision: 150, instance: 'a' });
    expect(await divergenceOf(log, 300, [first, later])).toBe(134);
  });

  it('where another process began an epoch of the same number at the same place', async () => {
    const log = await start();
    const first = await log.beginEpoch(1);
    const second = await log.beginEpoch(2, 'the one that stands');
    await log.write(3);
    const lost = remembered({ epoch: 2, firstRevision: 129, instance: 'the one that was lost' });
    expect(await divergenceOf(log, 258, [first, second])).toBeNull();
    expect(await divergenceOf(log, 258, [first, lost])).toBe(129);
  });

  it('where it shares no epoch with the log at all', async () => {
    const log = await start();
    await log.beginEpoch(7);
    const own = remembered({ epoch: 3, firstRevision: 1, instance: 'a' });
    expect(await divergenceOf(log, 500, [own])).toBe(1);
  });
});
