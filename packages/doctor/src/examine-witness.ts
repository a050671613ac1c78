import { join } from 'node:path';
import { tryToBind } from '@countersign/engines';
import { readIdentity } from '@countersign/identity';
import { checkCertificates } from './check-certificates.ts';
import { checkConfiguration } from './check-configuration.ts';
import { checkDisk } from './check-disk.ts';
import { checkFileModes } from './check-file-modes.ts';
import { checkLogServers } from './check-log-servers.ts';
import { checkPortsFree } from './check-ports-free.ts';
import { checkWithin } from './check-within.ts';
import type { ExaminedNode } from './examined-node.ts';
import { fine, quote, type Finding } from './finding.ts';

const WITHIN_MS = 5_000;

/** Whether this machine was let in as a witness; false too where its identity cannot be read, which is a finding. */
export function isWitness({ dataDirectory }: Pick<ExaminedNode, 'dataDirectory'>): boolean {
  try {
    const identity = readIdentity(join(dataDirectory, 'identity'));
    const own = identity?.members.members.find(({ name }) => name === identity.nodeName);
    return own?.role === 'witness';
  } catch {
    return false;
  }
}

/** All that can be seen on a witness's machine, from there; at most some seconds, and it throws nothing. */
export async function examineWitness(
  given: ExaminedNode,
  { isRunning }: { isRunning: boolean },
): Promise<Finding[]> {
  // It has no cluster key and listens to nobody but the log's servers and their clients.
  const witness = { ...given, secretFiles: [], radius: null };
  const own = witness.logServers.find(({ name }) => name === witness.name);
  const serves =
    isRunning && own && (await tryToBind({ ...own, port: own.clientPort, transport: 'tcp' }));
  const folder = quote(witness.dataDirectory);
  const ports = () => {
    if (serves) return Promise.resolve([fine('ports', 'its log server runs')]);
    if (!isRunning) return checkPortsFree(witness, { without: ['http.port'] });
    return Promise.resolve([fine('ports', 'its log server waits: the log has not moved here')]);
  };
  const asked = witness.logServers.filter(({ name }) => serves || name !== witness.name);
  const checks = [
    {
      name: 'config',
      look: () => checkConfiguration(witness),
      otherwise: `ls -l ${quote(witness.file.path)}`,
    },
    {
      name: 'certs',
      look: () => checkCertificates(witness, { isRunning: false, now: new Date() }),
      otherwise: 'docs/operating.md, "A witness"',
    },
    { name: 'files', look: () => checkFileModes(witness), otherwise: `ls -la ${folder}` },
    {
      name: 'disk',
      look: () => checkDisk(witness),
      otherwise: `ls -ld ${folder}; df -h ${folder}`,
    },
    { name: 'ports', look: ports, otherwise: 'ss -lntp' },
    { name: 'log', look: () => checkLogServers(witness, asked), otherwise: 'countersign status' },
  ];
  const found = await Promise.all(
    checks.map((check) => checkWithin({ ...check, withinMs: WITHIN_MS })),
  );
  return found.flat();
}
