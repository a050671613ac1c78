import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What ldapsearch(1) finds, as LDIF without comments and folded lines. Throws when it is refused. */
export async function searchDirectory(options: {
  url: string;
  authorityFile?: string;
  startTls?: boolean;
  name: string;
  password: string;
  base: string;
  filter: string;
  attributes: string[];
}): Promise<string> {
  const { stdout } = await run(
    'ldapsearch',
    [
      ...['-LLL', '-x', '-o', 'ldif-wrap=no', '-E', 'pr=500/noprompt', '-o', 'nettimeout=10'],
      ...(options.startTls ? ['-ZZ'] : []),
      ...['-H', options.url, '-D', options.name, '-w', options.password, '-b', options.base],
      ...[options.filter, ...options.attributes],
    ],
    {
      env: {
        PATH: process.env['PATH'],
        ...(options.authorityFile && { LDAPTLS_CACERT: options.authorityFile }),
      },
      timeout: 30_000,
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  return stdout;
}
