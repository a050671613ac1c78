import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { confirmByTyping } from '../confirm.ts';
import { escapeAll } from '../escape-all.ts';
import { formatAgo } from '../format-time.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession, type Session } from '../session.ts';

type Approval = {
  hash: string;
  directory: string;
  at: string;
  decision: { what: string; by: string } | null;
} & (
  | { kind: 'plan'; count: number; of: number; first: { username: string; what: string }[] }
  | { kind: 'phone'; username: string; from: string | null; to: string }
);

const PATH = '/api/v1/approvals';
const PREFIX_MIN = 8;

/** What the synchronisation may do only if an administrator says so. */
export function addApprovalCommands(directory: Command): void {
  const approvals = directory
    .command('approvals')
    .description('what a synchronisation does only if an administrator says so');
  approvals
    .command('list')
    .description('plans that wait, and who would be changed')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: PATH });
      if (session.json) return printJson(reply);
      const { approvals: all, isMore } = reply as { approvals: Approval[]; isMore: boolean };
      if (all.length === 0) return printLines(['nothing waits']);
      const rows = all.map((one) => [
        one.hash.slice(0, 12),
        one.directory,
        sumOf(one),
        formatAgo(Date.parse(one.at), Date.now()),
        one.decision ? `${one.decision.what} by ${one.decision.by}` : 'waits',
      ]);
      printTable(['HASH', 'DIRECTORY', 'WHAT', 'SINCE', 'STATE'], rows);
      if (isMore) printLines(['there are more than these']);
    });
  decide(approvals, 'approve', 'let it happen');
  decide(approvals, 'reject', 'have it not done');
}

function decide(approvals: Command, verb: 'approve' | 'reject', what: string): void {
  approvals
    .command(verb)
    .description(`${what}, after showing who and what it is about`)
    .argument('<hash>', `its first ${PREFIX_MIN} characters or more`)
    .option('--yes', 'do not ask')
    .action(async (prefix: string, { yes }: { yes?: boolean }, command: Command) => {
      const session = openSession(command);
      const found = await findByHash(session, prefix);
      if (!session.json) printLines(describe(escapeAll(found)));
      if (!yes) await confirmByTyping(verb, `This is ${found.hash.slice(0, 12)}.`);
      const path = `${PATH}/${found.hash}/${verb}`;
      const reply = await session.call({ method: 'POST', path });
      const done = verb === 'approve' ? 'approved' : 'rejected';
      printWrite(session, reply, `${done} ${found.hash.slice(0, 12)}`);
    });
}

async function findByHash(session: Session, prefix: string): Promise<Approval> {
  if (!/^[0-9a-f]+$/.test(prefix) || prefix.length < PREFIX_MIN) {
    throw new CliError(`name it by at least ${PREFIX_MIN} characters of its hash`, { exitCode: 2 });
  }
  const reply = (await session.call({ method: 'GET', path: PATH })) as { approvals: Approval[] };
  const found = reply.approvals.filter(({ hash }) => hash.startsWith(prefix));
  if (found.length === 1) return found[0]!;
  if (found.length > 1) throw new CliError(`several begin with ${prefix}: give more of it`);
  throw new CliError(`nothing that waits begins with ${prefix}: it was decided, or has changed`);
}

function describe(approval: Approval): string[] {
  const lines = [`${approval.directory}: ${sumOf(approval)}`];
  if (approval.kind !== 'plan') return lines;
  const named = approval.first.map(({ username, what }) => `  ${what} ${username}`);
  const more = approval.count - approval.first.length;
  return [...lines, ...named, ...(more > 0 ? [`  and ${more} more`] : [])];
}

function sumOf(approval: Approval): string {
  if (approval.kind === 'phone') {
    const { username, from, to } = approval;
    return escapeUntrusted(`phone of ${username}: ${from ?? 'none'} becomes ${to}`, 400);
  }
  const by = Map.groupBy(approval.first, ({ what }) => what);
  const kinds = [...by].map(([what, all]) => `${what} ${all.length}`).join(', ');
  const shown =
    approval.count > approval.first.length ? `; of the first ${approval.first.length}` : '';
  return `${approval.count} of ${approval.of} users${shown}: ${kinds}`;
}
