import { z } from 'zod';
import { BackupError } from './backup-error.ts';
import { BACKUP_FORMAT, newerFormat, type Manifest } from './backup-lines.ts';

const MAGIC = 'countersign-backup';
/** The first line has to end within these. */
export const HEADER_MAX_BYTES = 4096;

const header = z.strictObject({
  format: z.int().min(1),
  id: z.uuid(),
  createdAt: z.iso.datetime(),
  node: z.string().min(1).max(63),
  version: z.string().min(1).max(64),
  clusterId: z.string().max(64).nullable(),
  revision: z.int().min(0),
});

/**
 * What anybody may read of a backup: the first line of the file, before all that is encrypted. It is no more than a
 * label, until the manifest inside turns out to say the same.
 */
export type BackupHeader = z.infer<typeof header>;

/** The label of a backup with this manifest; the same text for the same manifest. */
export function encodeHeader(manifest: Manifest): string {
  const { format, id, createdAt, node, version, clusterId, revision } = manifest;
  const label: BackupHeader = { format, id, createdAt, node, version, clusterId, revision };
  return `${MAGIC} ${JSON.stringify(label)}\n`;
}

/** @throws BackupError `foreign`, `newer` */
export function parseHeader(firstBytes: Buffer): { header: BackupHeader; line: string } {
  const end = firstBytes.indexOf('\n');
  const line = firstBytes.toString('utf8', 0, end + 1);
  const label = end < 0 || end >= HEADER_MAX_BYTES ? null : parseLabel(line);
  if (!label) throw new BackupError('foreign', 'this is no backup of Countersign');
  const { format } = label as { format?: unknown };
  if (typeof format === 'number' && format > BACKUP_FORMAT) throw newerFormat(format);
  const parsed = header.safeParse(label);
  if (parsed.success) return { header: parsed.data, line };
  throw new BackupError('damaged', 'the first line of the backup is damaged');
}

function parseLabel(line: string): object | null {
  if (!line.startsWith(`${MAGIC} {`)) return null;
  try {
    return JSON.parse(line.slice(MAGIC.length)) as object;
  } catch {
    return {};
  }
}
