import type { ClusterView, DisasterReport } from '@countersign/api';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from './cli-error.ts';
import { confirmByTyping } from './confirm.ts';
import { escapeAll } from './escape-all.ts';
import type { LocalSession } from './local-session.ts';
import { printJson, printLines } from './print.ts';

const PATH = '/api/v1/node/forced-promotion';
/** Log servers that are there may take 10 s to elect who leads. */
const SURVEY_TIMEOUT_MS = 20_000;
const START_TIMEOUT_MS = 90_000;
const DONE_WITHIN_MS = 180_000;
const POLL_MS = 300;

/**
 * The log's majority is gone for good: shows what is known, has it confirmed, rebuilds the log from this node and
 * waits until it takes writes.
 * @throws CliError where a majority still answers, or it is not done within 3 minutes
 */
export async function forcePromotion(
  session: LocalSession,
  node: string | undefined,
  options: { isConfirmed: boolean },
): Promise<void> {
  const seen = await session.call({ method: 'GET', path: PATH, timeoutMs: SURVEY_TIMEOUT_MS });
  const report = escapeAll(seen as DisasterReport);
  if (node !== undefined && node !== report.node) {
    throw new CliError(`${session.socketPath} is the socket of ${report.node}, not of ${node}`);
  }
  if (!session.json) printLines(describeDisaster(report));
  if (report.refused) throw new CliError(report.refused);
  if (!options.isConfirmed) {
    await confirmByTyping(
      report.node,
      `The cluster goes on from ${report.node} alone. What other nodes have and it does not is given up.`,
    );
  }
  const body = { token: (seen as DisasterReport).token };
  const begun = await session.call({
    method: 'POST',
    path: PATH,
    body,
    timeoutMs: START_TIMEOUT_MS,
  });
  const { missed } = escapeAll(begun as { missed: string | null });
  const incarnation = await untilMaster(session, report);
  if (session.json) return printJson({ ...report, incarnation, missed });
  printLines(describeAfter(report, incarnation, missed));
}

export function describeDisaster(report: DisasterReport): string[] {
  const heard = report.lastHeard.map(
    (other) =>
      `  ${other.node}: last heard ${other.at}, revision ${other.revision}${other.online ? ', online' : ''}`,
  );
  return [
    `${report.node} has everything up to revision ${report.revision} (epoch ${report.epoch}, incarnation ${report.incarnation}), applied ${report.appliedAt}`,
    `the log's servers: ${report.logServers.join(', ')}`,
    `other nodes that answer now: ${report.answering.join(', ') || 'none'}`,
    ...(heard.length > 0
      ? ['contact with the others:', ...heard]
      : ['no other node was heard since it started']),
  ];
}

function describeAfter(
  { node, review }: DisasterReport,
  incarnation: number,
  missed: string | null,
): string[] {
  return [
    '',
    `${node} is the master of incarnation ${incarnation}.`,
    ...(missed ? [`its log server may have held more, which is given up: ${missed}`] : []),
    'TOTP codes made before this moment are refused; HOTP tokens ask for two codes in a row once.',
    'look at these, they may have been changed where nobody can see it any more:',
    `  blocked users: ${review.blockedUsers.join(', ') || 'none'}`,
    `  API keys: ${review.apiKeys.join(', ') || 'none'}`,
    'start the other nodes, with empty data folders where their data are lost: they follow or fill up by themselves, and with three log servers the log moves to all of them.',
    'a node that has changes of its own says so in status: countersign rejoin there gives them up.',
  ];
}

async function untilMaster(session: LocalSession, report: DisasterReport): Promise<number> {
  const giveUpAt = performance.now() + DONE_WITHIN_MS;
  while (performance.now() < giveUpAt) {
    await sleep(POLL_MS);
    try {
      const view = (await session.call({ method: 'GET', path: '/api/v1/cluster' })) as ClusterView;
      if (view.master === report.node && view.incarnation.number > report.incarnation) {
        return view.incarnation.number;
      }
    } catch {
      // It begins anew, and so does its socket.
    }
  }
  throw new CliError(
    'it is not the master after 3 minutes: look at countersign status and its logs',
  );
}
