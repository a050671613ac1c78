import { KeyError } from '@countersign/keys';
import { escapeUntrusted } from '@countersign/verification';

/** What is wrong with a directory, in one line of at most 500 characters that tells no secret. */
export function problemOf(error: unknown): string {
  if (error instanceof KeyError) return 'its password cannot be opened: give it again';
  const message = error instanceof Error ? error.message : String(error);
  return escapeUntrusted(message).slice(0, 500);
}
