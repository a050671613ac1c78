import { execFile, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether a command is there and ends well. */
export function runs(command: string, args: string[]): boolean {
  return spawnSync(command, args, { timeout: 10_000, stdio: 'ignore' }).status === 0;
}

export const hasOpenssl = runs('openssl', ['version']);

export interface TestCertificate {
  /** PEM. */
  authority: string;
  authorityFile: string;
  /** Of the server's certificate, in lower case hex. */
  sha256: string;
  certificateFile: string;
  keyFile: string;
}

export interface TestCertificateOptions {
  /** Of the subject alternative name. */
  hosts?: readonly string[];
  addresses?: readonly string[];
  /** Of the server's certificate; a negative number makes one that ended that many days ago. */
  days?: number;
}

/**
 * An authority of one's own and a certificate by it, for 127.0.0.1 and localhost unless others are
 * told; needs openssl.
 */
export async function makeTestCertificate(
  folder: string,
  { hosts = ['localhost'], addresses = ['127.0.0.1'], days = 2 }: TestCertificateOptions = {},
): Promise<TestCertificate> {
  const [ca, caKey, certificateFile, keyFile, request, extensions] = [
    'ca.pem',
    'ca.key',
    'server.pem',
    'server.key',
    'server.csr',
    'server.ext',
  ].map((name) => join(folder, name)) as [string, string, string, string, string, string];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const openssl = (args: string[]) => run('openssl', args, { timeout: 20_000 });
  await openssl([
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=Test authority'],
    ...['-keyout', caKey, '-out', ca],
  ]);
  const names = [
    ...hosts.map((host) => `DNS:${host}`),
    ...addresses.map((address) => `IP:${address}`),
  ].join();
  await writeFile(extensions, `subjectAltName=${names}\nbasicConstraints=critical,CA:FALSE\n`);
  await openssl([
    ...['req', ...newKey, '-subj', `/CN=${hosts[0] ?? addresses[0]}`],
    ...['-keyout', keyFile, '-out', request],
  ]);
  // x509 can date a certificate back, req cannot.
  await openssl([
    ...['x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial'],
    ...['-days', String(days), '-extfile', extensions, '-out', certificateFile],
  ]);
  const { fingerprint256 } = new X509Certificate(await readFile(certificateFile));
  return {
    authority: await readFile(ca, 'utf8'),
    authorityFile: ca,
    sha256: fingerprint256.replaceAll(':', '').toLowerCase(),
    certificateFile,
    keyFile,
  };
}
