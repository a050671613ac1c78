import { askHealth } from './ask-health.ts';
import { checkCertificates } from './check-certificates.ts';
import { checkConfiguration } from './check-configuration.ts';
import { checkDisk } from './check-disk.ts';
import { checkFileModes } from './check-file-modes.ts';
import { checkListeners } from './check-listeners.ts';
import { checkLogServers } from './check-log-servers.ts';
import { checkPortsFree } from './check-ports-free.ts';
import { checkWithin } from './check-within.ts';
import type { ExaminedLogServer, ExaminedNode } from './examined-node.ts';
import { quote, type Finding } from './finding.ts';

const WITHIN_MS = 5_000;

/** All that can be seen on a node's machine, from there; at most some seconds, and it throws nothing. */
export async function examineMachine(
  node: ExaminedNode,
  options: {
    isRunning: boolean;
    /** Those it uses. */
    logServers: readonly ExaminedLogServer[];
  },
): Promise<Finding[]> {
  const { isRunning, logServers } = options;
  const asked = isRunning ? logServers : logServers.filter(({ name }) => name !== node.name);
  const folder = quote(node.dataDirectory);
  const checks = [
    {
      name: 'config',
      look: () => checkConfiguration(node),
      otherwise: `ls -l ${quote(node.file.path)}`,
    },
    {
      name: 'certs',
      look: () => checkCertificates(node, { isRunning, now: new Date() }),
      otherwise: 'docs/operating.md, "Certificates"',
    },
    { name: 'files', look: () => checkFileModes(node), otherwise: `ls -la ${folder}` },
    { name: 'disk', look: () => checkDisk(node), otherwise: `ls -ld ${folder}; df -h ${folder}` },
    isRunning
      ? { name: 'ports', look: () => checkListeners(node), otherwise: 'ss -lntup' }
      : { name: 'ports', look: () => checkPortsFree(node), otherwise: 'ss -lntup' },
    {
      name: 'log',
      look: () => checkLogServers(node, asked),
      otherwise: 'countersign status',
    },
  ];
  const found = await Promise.all(
    checks.map((check) => checkWithin({ ...check, withinMs: WITHIN_MS })),
  );
  return found.flat();
}

/** Whether the node runs that a configuration is for. */
export async function isNodeRunning(node: ExaminedNode): Promise<boolean> {
  return askHealth(node, '/healthz').then(
    (health) => health.node === node.name,
    () => false,
  );
}
