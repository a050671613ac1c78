import { execFile, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
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
  certificateFile: string;
  keyFile: string;
}

/** An authority of one's own and a certificate by it for 127.0.0.1 and localhost; needs openssl. */
export async function makeTestCertificate(folder: string): Promise<TestCertificate> {
  const [ca, caKey, certificateFile, keyFile] = [
    'ca.pem',
    'ca.key',
    'server.pem',
    'server.key',
  ].map((name) => join(folder, name)) as [string, string, string, string];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const openssl = (args: string[]) => run('openssl', args, { timeout: 20_000 });
  await openssl([
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=Test authority'],
    ...['-keyout', caKey, '-out', ca],
  ]);
  await openssl([
    ...[
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-CA',
      ca,
      '-CAkey',
      caKey,
    ],
    ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-keyout', keyFile, '-out', certificateFile],
  ]);
  return { authority: await readFile(ca, 'utf8'), certificateFile, keyFile };
}
