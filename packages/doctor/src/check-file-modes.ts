import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExaminedNode } from './examined-node.ts';
import { critical, fine, quote, warning, type Finding } from './finding.ts';

/** Any right of group and others. */
const ANY_RIGHT = 0o077;
const READ_OR_WRITE = 0o066;
const WRITE = 0o022;
const NOT_OF_GROUP = 0o027;

const FIX_OF_MISSING = 'put it back from a copy; docs/operating.md says what each file is';

/** Nobody but the node's user may read its secrets, or write what it starts from. */
export async function checkFileModes(
  node: Pick<ExaminedNode, 'dataDirectory' | 'secretFiles' | 'http' | 'file'>,
): Promise<Finding[]> {
  const { dataDirectory, secretFiles, http, file } = node;
  if (!existsSync(dataDirectory)) {
    return [fine('files', `${dataDirectory} is not there yet: the first start makes it`)];
  }
  const hasRun = existsSync(join(dataDirectory, 'log-layout.json'));
  const identity = join(dataDirectory, 'identity');
  const secrets = await readdir(identity).catch(() => []);
  const found = await Promise.all([
    // As root PostgreSQL runs as somebody else below it, who has to pass through.
    look(dataDirectory, { refused: READ_OR_WRITE, mode: 'go-rw', isNeeded: true }),
    ...secretFiles.map((path) => {
      // What the first start makes cannot be missing before.
      const isNeeded = hasRun || !path.startsWith(dataDirectory);
      return look(path, { refused: ANY_RIGHT, mode: '600', isNeeded });
    }),
    // Other servers of the machine may share it, by their group.
    ...(http.tls ? [look(http.tls.keyFile, { refused: NOT_OF_GROUP, mode: 'g-w,o=' })] : []),
    look(join(dataDirectory, 'nats.conf'), { refused: ANY_RIGHT, mode: '600' }),
    look(join(dataDirectory, 'countersign.sock'), { refused: ANY_RIGHT, mode: '600' }),
    look(identity, { refused: ANY_RIGHT, mode: '700' }),
    ...secrets.map((name) => look(join(identity, name), { refused: ANY_RIGHT, mode: '600' })),
    look(file.path, { refused: WRITE, mode: 'go-w', isNeeded: true }),
  ]);
  const wrong = found.flat();
  return wrong.length > 0 ? wrong : [fine('files', 'secrets are readable by their owner only')];
}

async function look(
  path: string,
  wanted: { refused: number; mode: string; isNeeded?: boolean },
): Promise<Finding[]> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    if (found.code !== 'ENOENT') {
      return [
        warning('files', `${path} cannot be looked at (${found.code})`, `ls -ld ${quote(path)}`),
      ];
    }
    return wanted.isNeeded ? [critical('files', `${path} is missing`, FIX_OF_MISSING)] : [];
  }
  const rights = found.mode & 0o777;
  if ((rights & wanted.refused) === 0) return [];
  const whoMay = rights & 0o022 & wanted.refused ? 'change' : 'read';
  const detail = `${path} has mode 0${rights.toString(8).padStart(3, '0')}: others may ${whoMay} it`;
  return [critical('files', detail, `chmod ${wanted.mode} ${quote(path)}`)];
}
