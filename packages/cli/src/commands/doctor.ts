import type { ClusterView, NodeExamination } from '@countersign/api';
import { critical, type Finding } from '@countersign/doctor/finding';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { describeFindings, summarise } from '../doctor/describe-findings.ts';
import { examineCluster } from '../doctor/examine-cluster.ts';
import { examineHere } from '../doctor/examine-here.ts';
import { printJson, printLines } from '../print.ts';
import { openSession } from '../session.ts';
import type { Session } from '../session.ts';

/** For one node; 200,000 users take about a minute. */
const FINISH_WITHIN_MS = 1_800_000;

const CHECKS = [
  'cluster: quorum, members, digests, versions',
  '',
  'each node, from its own machine:',
  'tables    the digest recomputed from the bytes stored, and users, settings, API keys and nodes',
  '          as they are queried against what was received',
  'database  PostgreSQL answers and writes safely',
  'outbox    events that wait for the log',
  'clock     against the median of the nodes',
  'backup    how old the last planned backup is',
  'config    the configuration is the one that the node runs by',
  'certs     until when its certificates are good',
  'files     who may read its secrets',
  'disk      room for data and log',
  'http, radius   its listeners answer, and its worker can verify',
  'log       every log server is reached from there, and is new enough',
];

type Found = { cluster: Finding[]; nodes: NodeExamination[] };

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('look closely at every node, or at these; exit 1 if anything is wrong')
    .argument('[nodes...]', 'their names; default: all, and the cluster as a whole')
    .option(
      '--config <file>',
      'only at this machine, by the configuration of its node, which may be down',
    )
    .addHelpText('after', ['', 'It checks:', ...CHECKS.map((line) => `  ${line}`)].join('\n'))
    .action(async (named: string[], { config }: { config?: string }, command: Command) => {
      if (config !== undefined && named.length > 0) {
        throw new CliError('give either names of nodes or --config', { exitCode: 2 });
      }
      const { json } = command.optsWithGlobals<{ json?: boolean }>();
      const show = (about: string, found: Finding[]) => {
        if (!json) printLines(describeFindings(about, found));
      };
      const found =
        config === undefined
          ? await lookAround(openSession(command), named, show)
          : await lookHere(config, show);
      const all = [...found.cluster, ...found.nodes.flatMap(({ checks }) => checks)];
      const isWell = all.every(({ ok }) => ok);
      if (json) printJson({ ok: isWell, ...found });
      else printLines([summarise(all)]);
      if (!isWell) process.exitCode = 1;
    });
}

type Show = (about: string, found: Finding[]) => void;

async function lookAround(session: Session, named: string[], show: Show): Promise<Found> {
  const found: Found = { cluster: [], nodes: [] };
  let names = named;
  if (named.length === 0) {
    const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
    const { nodes } = view as ClusterView;
    names = nodes.map(({ name }) => name);
    found.cluster = examineCluster(view as ClusterView, Date.now());
    show('cluster', found.cluster);
  }
  for (const name of names) {
    const examination = await examine(session, name);
    found.nodes.push(examination);
    show(name, examination.checks);
  }
  return found;
}

async function lookHere(configFile: string, show: Show): Promise<Found> {
  const examination = await examineHere(configFile);
  show(examination.node, examination.checks);
  return { cluster: [], nodes: [examination] };
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
    const fix = `on ${node}: systemctl status countersign; countersign doctor --config FILE`;
    const checks = [critical('node', error.message, fix)];
    return { node, finished: false, documents: 0, checks };
  }
}
