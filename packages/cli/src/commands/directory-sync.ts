import { escapeUntrusted, type SyncCounts } from '@countersign/verification';
import type { Command } from 'commander';
import { directoryPath } from '../directory/paths.ts';
import { readDirectories } from '../directory/read-directories.ts';
import {
  readSyncStatus,
  waitForSync,
  type DryRun,
  type SyncStatus,
} from '../directory/wait-for-sync.ts';
import { escapeAll } from '../escape-all.ts';
import { formatLocalTime } from '../format-time.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { openSession, type Session } from '../session.ts';

type Options = { full?: boolean; dryRun?: boolean; wait: boolean };

export function syncDirectories(directory: Command): void {
  directory
    .command('sync')
    .description('synchronise one now, or all')
    .argument('[name]')
    .option('--full', 'read everything, whatever changed')
    .option('--dry-run', 'tell what would be done, write nothing')
    .option('--no-wait', 'only begin')
    .action(async (name: string | undefined, options: Options, command: Command) => {
      const session = openSession(command);
      const told: Record<string, unknown> = {};
      for (const each of await namesOf(session, name)) {
        told[each] = await syncOne(session, each, options);
      }
      if (session.json) printJson(told);
    });
  directory
    .command('sync-status')
    .description('what runs, what was last, what waits')
    .argument('[name]')
    .action(async (name: string | undefined, _options, command: Command) => {
      const session = openSession(command);
      const told: Record<string, SyncStatus> = {};
      for (const each of await namesOf(session, name)) {
        told[each] = await readSyncStatus(session, each);
      }
      if (session.json) return printJson(told);
      for (const [each, status] of Object.entries(told)) {
        printLines(linesOf(escapeUntrusted(each), escapeAll(status)));
      }
    });
}

async function namesOf(session: Session, name: string | undefined): Promise<string[]> {
  if (name !== undefined) return [name];
  return (await readDirectories(session)).map((each) => each.name);
}

async function syncOne(session: Session, name: string, options: Options): Promise<unknown> {
  const { full = false, dryRun = false } = options;
  const before = await readSyncStatus(session, name);
  const path = directoryPath(name, 'sync');
  const begun = await session.call({ method: 'POST', path, body: { full, dryRun } });
  const shown = escapeUntrusted(name);
  if (!(begun as { started: boolean }).started && !session.json) {
    printLines([`${shown}: one is running already`]);
  }
  if (!options.wait) {
    if (!session.json) printLines([`${shown}: begun; see countersign directory sync-status`]);
    return begun;
  }
  const status = escapeAll(await waitForSync(session, name));
  const { last, lastDryRun, held } = status;
  if (dryRun && lastDryRun && lastDryRun.startedAt !== before.lastDryRun?.startedAt) {
    if (!session.json) tellDryRun(shown, lastDryRun);
    if (lastDryRun.problem !== null) process.exitCode = 1;
    return lastDryRun;
  }
  const isNew = last !== null && last.startedAt !== before.last?.startedAt;
  // What failed as it did before is not worth a change, and so not in `last`.
  const isHeld = last?.outcome === 'held' && (isNew || last.problem === status.problem);
  const problem = isHeld ? null : isNew ? last.problem : status.problem;
  if (problem) process.exitCode = 1;
  if (!session.json) {
    printLines([
      problem
        ? `${shown}: failed: ${problem}`
        : `${shown}: ${isNew ? describeLast(last) : 'nothing to change'}`,
      ...describeHeld(held),
    ]);
  }
  return { last: isNew ? last : null, problem, held };
}

function tellDryRun(name: string, { problem, counts, first }: DryRun): void {
  if (problem !== null) return printLines([`${name}: it would fail: ${problem}`]);
  printLines([`${name}: ${describeCounts(counts)}; nothing was written`]);
  if (first.length > 0) {
    const rows = first.map(({ username, what, why }) => [username, what, why ?? '']);
    printTable(['USERNAME', 'WHAT', 'WHY'], rows);
  }
}

function linesOf(name: string, status: SyncStatus): string[] {
  const { running, last, held, nextAt, lastFullAt } = status;
  const time = (at: string) => formatLocalTime(Date.parse(at));
  return [
    `${name}: synchronisation is ${status.enabled ? 'on' : 'off'}`,
    ...(status.masterAnswers ? [] : ['  no master answers: whether one runs is not known']),
    ...(running
      ? [
          `  running: ${running.kind}${running.dryRun ? ', dry run' : ''}, ${running.phase}, ${running.done}${running.of === null ? '' : ` of ${running.of}`} people`,
        ]
      : []),
    ...(last ? [`  last: ${time(last.endedAt)} ${last.kind}: ${describeLast(last)}`] : []),
    ...(lastFullAt ? [`  everything was read last at ${time(lastFullAt)}`] : []),
    ...(status.problem ? [`  problem: ${status.problem}`] : []),
    ...(nextAt ? [`  next: ${time(nextAt)}`] : []),
    ...describeHeld(held).map((line) => `  ${line}`),
  ];
}

function describeLast(last: NonNullable<SyncStatus['last']>): string {
  if (last.outcome === 'failed') return `failed: ${last.problem ?? 'no reason is known'}`;
  return describeCounts(last.counts);
}

function describeHeld(held: SyncStatus['held']): string[] {
  if (!held || held.decision !== null) return [];
  return [
    `held: ${held.count} of ${held.of} users would be disabled, removed or get another phone: countersign directory approvals list`,
  ];
}

function describeCounts(counts: SyncCounts): string {
  const { people, refused, ...rest } = counts;
  const some = Object.entries(rest).filter(([, count]) => count > 0);
  const done = some.map(([what, count]) => `${count} ${what}`).join(', ') || 'nothing to change';
  const not = refused > 0 ? `, ${refused} could not be taken` : '';
  return `${people} people, ${done}${not}`;
}
