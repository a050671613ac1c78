import { createContext, Script } from 'node:vm';

const maxMatchMs = 50;
const maxMatchedChars = 4_096;

/**
 * The groups of an operator's regular expression in an answer, or undefined without a match. The
 * expression gets 50 ms and 4,096 characters: one that goes wild is no match.
 */
export function matchBody(pattern: string, body: string): Record<string, string> | undefined {
  const text = body.slice(0, maxMatchedChars);
  const context = createContext({ pattern, text });
  try {
    const found: unknown = matcher.runInContext(context, { timeout: maxMatchMs });
    return typeof found === 'string' ? (JSON.parse(found) as Record<string, string>) : undefined;
  } catch {
    return undefined;
  }
}

// Only a text comes back from the other context.
const matcher = new Script(`
  const match = new RegExp(pattern, 'u').exec(text);
  match ? JSON.stringify(match.groups ?? {}) : undefined;
`);
