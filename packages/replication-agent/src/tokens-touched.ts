import { createHash } from 'node:crypto';
import { Base32Error, decodeBase32 } from '@countersign/verification';

/**
 * The serial numbers and secrets that a command brings: of two that bring the same one at a time is planned, so that
 * the second finds the first. Secrets stand as hashes.
 */
export function tokensTouched(args: Record<string, unknown>): string[] {
  const { authenticators } = args;
  const all: unknown[] = Array.isArray(authenticators) ? [args, ...authenticators] : [args];
  return all.flatMap((each) => {
    const { serial, secret } = (each ?? {}) as Record<string, unknown>;
    return [
      ...(typeof serial === 'string' ? [`serial ${serial.trim().toLowerCase()}`] : []),
      ...(typeof secret === 'string' ? secretTouched(secret) : []),
    ];
  });
}

function secretTouched(text: string): string[] {
  try {
    const hex = decodeBase32(text)
      .toString('hex')
      .replace(/(?:00)+$/, '');
    return [`secret ${createHash('sha256').update(hex).digest('base64url')}`];
  } catch (error) {
    // Refused when it is planned.
    if (error instanceof Base32Error) return [];
    throw error;
  }
}
