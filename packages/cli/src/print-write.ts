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
