import { setTimeout as sleep } from 'node:timers/promises';
import { decodeChange, type Sealer } from '@countersign/cluster';
import { readDocument, type Database } from '@countersign/database';
import { checkDocument, type MailJobDocument } from '@countersign/verification';
import type { Mastership } from '../mastership.ts';
import { MailJob, type MailJobOptions } from './mail-job.ts';

const EVERY_MS = 1000;

/** Sends the cluster's mail while this node is master, under the lease's own signal. Ends with `signal`. */
export async function runMailJob(
  options: Omit<MailJobOptions, 'readJob' | 'writeJob'> & {
    mastership: Pick<Mastership, 'isActive' | 'term' | 'write'>;
    sealer: Sealer;
    signal: AbortSignal;
  },
): Promise<void> {
  const { db, mastership, sealer, signal, log } = options;
  const job = new MailJob({
    ...options,
    readJob: () => readMailJob(db, sealer),
    writeJob: (document) =>
      mastership.write({ kind: 'job', id: 'mail', document, touches: ['job mail'] }),
  });
  let epoch: number | null = null;
  while (!signal.aborted) {
    const term = mastership.isActive ? mastership.term : null;
    try {
      if (term && term.epoch !== epoch) job.beginTerm();
      epoch = term?.epoch ?? null;
      if (term) await job.run(AbortSignal.any([signal, term.signal]));
    } catch (error) {
      log.warn({ error: String(error) }, 'mail waits');
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** The job as this replica has it; null where there never was one. */
export async function readMailJob(db: Database, sealer: Sealer): Promise<MailJobDocument | null> {
  const row = await readDocument(db, 'job', 'mail');
  if (!row || row.removed) return null;
  return checkDocument('job', decodeChange(row.bytes, sealer).document);
}
