import { createHash } from 'node:crypto';
import type { DirectoryDocument } from '@countersign/verification';

/** Hash of all that decides who is taken and how: after a change of it everything is read (hex). */
export function basisOf(directory: DirectoryDocument): string {
  const { type, domains, baseDn, filters, attributes, defaultCountry, items } = directory;
  const all = [2, type, domains, baseDn, filters, attributes, defaultCountry, items];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}
