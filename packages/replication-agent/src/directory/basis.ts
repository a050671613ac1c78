import { createHash } from 'node:crypto';
import type { DirectoryDocument } from '@countersign/verification';

/** Hash of all that decides who is taken and how: after a change of it everything is read (hex). */
export function basisOf(directory: DirectoryDocument): string {
  const { type, baseDn, filters, attributes, defaultCountry, items } = directory;
  const all = [1, type, baseDn, filters, attributes, defaultCountry, items];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}
