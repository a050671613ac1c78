import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FIRST_LAYOUT_TAG, Membership, shutStates, UserStates } from '@countersign/cluster';
import { waitFor } from '@countersign/testing';
import { expect, it } from 'vitest';
import { LimitKeeper } from './limit-keeper.ts';
import { Storage } from './storage.ts';
import { letWriteAfterMove, tendCluster } from './tend-cluster.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { limits, silent, useTestLog } from './testing/use-test-log.ts';
import { noWitnesses } from './testing/no-witnesses.ts';

const test = useTestLog();
const node = 'node-1';

it('lets user states be written again after a master was gone in the middle of a move, but not in a move', async () => {
  const master = await startTestMaster(test);
  const { link, mastership } = master;
  const { number: incarnationNumber } = master.incarnation;
  const dataDirectory = mkdtempSync(join(tmpdir(), 'countersign-tend-'));
  const membership = new Membership(link);
  const storage = new Storage({
    node,
    link,
    membership,
    incarnationNumber,
    limits,
    disks: () => [],
    isLogWritable: () => true,
    tellSupervisor: () => undefined,
  });
  const states = new UserStates(link, incarnationNumber);
  const canWrite = () => states.probe(node, 1000);
  await shutStates(link, incarnationNumber);
  mastership.isHandingOver = true;
  await letWriteAfterMove({ ...master, incarnationNumber }, { openedAt: -Infinity });
  expect(await canWrite()).toBe(false);
  mastership.isHandingOver = false;
  const stop = new AbortController();
  const tending = tendCluster({
    ...master,
    config: { node, dataDirectory },
    layout: { tag: FIRST_LAYOUT_TAG, servers: [], by: null, disasterAt: null },
    incarnationNumber,
    membership,
    storage,
    witnesses: noWitnesses,
    limitKeeper: new LimitKeeper({ link, limits, log: silent }),
    showApiKey: () => undefined,
    showInvitation: () => undefined,
    tryMove: async () => false,
    log: silent,
    signal: stop.signal,
  });
  test.atEnd(async () => {
    stop.abort();
    await tending;
    rmSync(dataDirectory, { recursive: true, force: true });
  });
  await waitFor('user states to be written', canWrite, { timeoutMs: 8000 });
});
