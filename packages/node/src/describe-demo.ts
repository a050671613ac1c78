import { quote } from '@countersign/doctor/finding';
import type { DemoCluster } from './demo-api.ts';
import { demoUsername } from './demo-api.ts';
import type { DemoFileNode, DemoRadius } from './demo-file.ts';

/** What the demo shows when it is ready. */
export interface DemoDescription {
  /** As it is best typed here. */
  directory: string;
  isDefaultDirectory: boolean;
  nodes: readonly DemoFileNode[];
  cluster: DemoCluster;
  otpauth: string;
  admin: { username: string } | null;
  radius: readonly DemoRadius[];
  durationMs: number;
}

/** The table of a running demo: at most 80 columns, unless a path or the secret is very long. */
export function describeDemo(demo: DemoDescription): string {
  const { nodes, cluster, directory } = demo;
  const roles = new Map(cluster.nodes.map(({ name, role }) => [name, role]));
  const master = nodes.find(({ name }) => name === cluster.master) ?? nodes[0];
  const next = nodes.find((node) => node !== master);
  const server = next ?? master;
  const secret = new URL(demo.otpauth).searchParams.get('secret') ?? '';
  const count = nodes.length === 1 ? '1 node is' : `${nodes.length} nodes are`;

  const rows = nodes.map(({ name, url }) => [name, url, roles.get(name) ?? 'subordinate']);
  const lines = [
    `Countersign: ${count} ready after ${(demo.durationMs / 1000).toFixed(1)} s`,
    '',
    ...alignColumns([['NODE', 'URL', 'ROLE'], ...rows]),
    '',
    ...alignColumns([
      ['User', `${demoUsername}, with a TOTP authenticator and a phone`],
      ...(demo.admin
        ? [['Admin', `${demo.admin.username}, who signs in as ${directory}/demo.json says`]]
        : []),
      ['API key', `in ${directory}/api-key`],
      ['Logs', `in ${directory}/node-…/logs`],
    ]),
    '',
    'Try this in a second terminal, in this folder:',
    '',
  ];
  if (!demo.isDefaultDirectory && server) {
    lines.push(
      ...step('Tell the command line where the demo is', [
        `export COUNTERSIGN_SERVER=${nodes.map(({ url }) => url).join(',')}`,
        `export COUNTERSIGN_API_KEY=$(cat ${quote(`${directory}/api-key`)})`,
      ]),
    );
  }
  lines.push(
    ...step('See who is master and whether everybody is up to date', ['npx countersign status']),
    ...step(`Get a code like ${demoUsername}'s phone would show, and verify it`, [
      `oathtool --totp -b ${secret}`,
      `npx countersign verify ${demoUsername} CODE`,
    ]),
    ...step(
      `Send ${demoUsername} a code by text, and read it where the demo keeps texts and mails`,
      [
        `npx countersign verify ${demoUsername} --method text`,
        'npx countersign demo outbox --follow',
      ],
    ),
  );
  const [radius] = demo.radius;
  if (radius) {
    lines.push(
      ...step('Sign in over RADIUS with the next code, as a VPN would', [
        `echo 'User-Name=${demoUsername},User-Password=CODE,Message-Authenticator=0x00' |`,
        `  radclient ${radius.host}:${radius.port} auth ${radius.secret}`,
      ]),
    );
  }
  if (master && next) {
    lines.push(
      ...step(`Kill the master (${master.name}); verifying goes on, another one takes over`, [
        `kill -9 ${pidsOf(master).join(' ')}`,
      ]),
      ...step(`Start ${master.name} again`, [
        `npx countersign node --config ${quote(`${directory}/${master.name}/node.yaml`)}`,
      ]),
      ...step('Choose the master yourself', [`npx countersign promote ${next.name}`]),
    );
  }
  lines.push('Ctrl-C stops everything; the next start continues the same cluster.');
  return lines.join('\n');
}

function step(what: string, commands: string[]): string[] {
  return [`  ${what}`, ...commands.map((command) => `    ${command}`), ''];
}

/** The supervisor first, so that it starts nothing again. */
export function pidsOf(node: DemoFileNode): number[] {
  const { supervisorPid, agentPid, workerPids, natsPid, postgresPid } = node;
  return [supervisorPid, agentPid, ...workerPids, natsPid, postgresPid].filter(
    (pid) => pid !== null,
  );
}

function alignColumns(rows: string[][]): string[] {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths?.[column] ?? 0)).join('   ')}`.trimEnd(),
  );
}
