import { spawn } from 'node:child_process';

/**
 * Makes changes (LDIF) with ldapmodify(1), in one connection; an entry without a changetype is
 * added. Throws with what the server said of the first that it refused.
 */
export async function modifyDirectory(options: {
  url: string;
  authorityFile?: string;
  name: string;
  password: string;
  ldif: string;
}): Promise<void> {
  const { url, authorityFile, name, password, ldif } = options;
  const child = spawn(
    'ldapmodify',
    ['-a', '-x', '-H', url, '-D', name, '-w', password, '-o', 'nettimeout=10'],
    {
      env: {
        PATH: process.env['PATH'],
        ...(authorityFile && { LDAPTLS_CACERT: authorityFile }),
      },
      stdio: ['pipe', 'ignore', 'pipe'],
      timeout: 60_000,
      killSignal: 'SIGKILL',
    },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  // One that ends before it has read all tells why on stderr.
  child.stdin.on('error', () => {});
  child.stdin.end(ldif);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`ldapmodify as ${name} failed (${code}): ${said.trim()}`);
}
