import { escapeUntrusted } from '@countersign/verification';
import { printJson, printLines } from './print.ts';
import type { Session } from './session.ts';

/** Says that a change is done and where it stands in the log; with --json prints the reply itself. */
export function printWrite(session: Session, reply: unknown, done: string): void {
  if (session.json) return printJson(reply);
  const { revision, applied } = reply as { revision: number; applied: boolean };
  const note = applied ? '' : ', not yet applied by the node that answered';
  printLines([`${escapeUntrusted(done, 400)} (revision ${revision}${note})`]);
}

/** As {@link printWrite}, of what a node also does without a master. */
export function printStop(session: Session, reply: unknown, done: string): void {
  const { asStopFact } = reply as { asStopFact?: boolean };
  if (session.json || !asStopFact) return printWrite(session, reply, done);
  printLines([
    `${escapeUntrusted(done, 400)} on this node at once; the cluster follows when its master is back`,
  ]);
}
