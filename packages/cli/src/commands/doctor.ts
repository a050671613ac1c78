import type { ClusterView, NodeExamination } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines } from '../print.ts';
import { openSession } from '../session.ts';
import type { Session } from '../session.ts';

/** For one node; 200,000 users take about a minute. */
const FINISH_WITHIN_MS = 1_800_000;

const CHECKS = [
  'tables  the digest recomputed from the bytes stored, and users, settings, API keys and nodes',
  '        as they are queried against what was received',
  'outbox  events that wait for the log',
  'clock   against the median of the nodes',
  'disk    free space under the data',
];

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('look closely at every node, or at these; exit 1 if anything is wrong')
    .argument('[nodes...]', 'their names; default: all')
    .addHelpText('after', ['', 'It checks:', ...CHECKS.map((line) => `  ${line}`)].join('\n'))
    .action(async (named: string[], _options, command: Command) => {
      const session = openSession(command);
      const nodes = named.length > 0 ? named : await listNodes(session);
      const found: NodeExamination[] = [];
      for (const node of nodes) {
        const examination = await examine(session, node);
        found.push(examination);
        if (!session.json) printLines(describeExamination(examination));
      }
      const isWell = found.every(({ checks }) => checks.every((check) => check.ok));
      if (session.json) printJson({ ok: isWell, nodes: found });
      else printLines([isWell ? 'nothing is wrong' : 'something is wrong: see docs/failover.md']);
      if (!isWell) process.exitCode = 1;
    });
}

async function listNodes(session: Session): Promise<string[]> {
  const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
  return (view as ClusterView).nodes.map((node) => node.name);
}

/** A node that does not answer is a finding like others. */
async function examine(session: Session, node: string): Promise<NodeExamination> {
  const path = `/api/v1/cluster/nodes/${encodeURIComponent(node)}/examinations`;
  const giveUpAt = performance.now() + FINISH_WITHIN_MS;
  try {
    for (;;) {
      const reply = (await session.call({ method: 'POST', path })) as NodeExamination;
      if (reply.finished) return reply;
      if (performance.now() > giveUpAt) {
        throw new CliError(`not finished after ${FINISH_WITHIN_MS / 60_000} min`);
      }
    }
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const checks = [{ name: 'node', ok: false, detail: error.message }];
    return { node, finished: false, documents: 0, checks };
  }
}

function describeExamination(untrusted: NodeExamination): string[] {
  const { node, checks } = escapeAll(untrusted);
  const lines = checks.map(
    ({ name, ok, detail }) => `  ${ok ? 'ok   ' : 'WRONG'}  ${name.padEnd(6)}  ${detail}`,
  );
  return [node, ...lines, ''];
}
