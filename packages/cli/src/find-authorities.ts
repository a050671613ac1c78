import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { CliError } from './cli-error.ts';

const LOCAL_DATA = '/var/lib/countersign';

/**
 * Whose certificates are believed: those by the authorities in the file that is named, and no others; otherwise those
 * the system believes, and by the cluster's CA as the node on this machine knows it. Undefined: the system's alone.
 * @throws CliError for a file that is named and holds none
 */
export function findAuthorities(
  options: { clusterCa?: string },
  env: NodeJS.ProcessEnv,
): string[] | undefined {
  const named = options.clusterCa ?? env.COUNTERSIGN_CLUSTER_CA;
  if (named) return [readAuthority(named)];
  const socket = env.COUNTERSIGN_SOCKET;
  const local = findLocal(socket ? dirname(socket) : LOCAL_DATA);
  return local === null ? undefined : [...getCACertificates('default'), local];
}

function readAuthority(file: string): string {
  try {
    const pem = readFileSync(file, 'utf8');
    void new X509Certificate(pem);
    return pem;
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    const why = code.startsWith('E') && !code.startsWith('ERR_') ? code : 'no certificate in PEM';
    throw new CliError(`cannot read an authority's certificate from ${file} (${why})`, {
      exitCode: 2,
      cause,
    });
  }
}

/** Only the user that runs the node can read it; others name a copy. */
function findLocal(dataDirectory: string): string | null {
  try {
    return readFileSync(join(dataDirectory, 'identity', 'ca.pem'), 'utf8');
  } catch {
    return null;
  }
}
