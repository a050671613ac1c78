import { createHash } from 'node:crypto';

/** The id of what a command creates follows from the command's id, so a repeat would create the same thing (UUIDv8). */
export function deriveId(commandId: string, what: string): string {
  const bytes = createHash('sha256').update(`${what}\0${commandId}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}
