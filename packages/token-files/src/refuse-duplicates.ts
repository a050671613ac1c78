import { refuseToken } from './imported-token.ts';
import type { ImportedToken, PlacedToken, ReadTokens } from './imported-token.ts';

/**
 * Refuses every token that shares its serial number or secret with another of the same file:
 * which of them is right cannot be known, and a shared secret lets one person answer for another.
 */
export function refuseDuplicates({ tokens, refused }: ReadTokens, place: string): ReadTokens {
  const bySerial = Map.groupBy(tokens, ({ token }) => token.serial?.toLowerCase());
  bySerial.delete(undefined);
  const bySecret = Map.groupBy(tokens, ({ token }) => secretKey(token));

  const read: ReadTokens = { tokens: [], refused: [...refused] };
  for (const placed of tokens) {
    const sameSerial = otherOf(placed, bySerial.get(placed.token.serial?.toLowerCase()));
    const sameSecret = otherOf(placed, bySecret.get(secretKey(placed.token)));
    const other = sameSerial ?? sameSecret;
    if (other) {
      const what = sameSerial ? 'serial number' : 'secret';
      read.refused.push(refuseToken(placed, `has the same ${what} as ${place} ${other.at}`));
    } else read.tokens.push(placed);
  }
  read.refused.sort((a, b) => a.at - b.at);
  return read;
}

// HMAC fills a short key with zero bytes, so secrets that differ only there make the same codes.
function secretKey(token: ImportedToken): string {
  return token.secret.toString('hex').replace(/(?:00)+$/, '');
}

function otherOf(placed: PlacedToken, group: PlacedToken[] | undefined): PlacedToken | undefined {
  return group?.find((other) => other !== placed);
}
