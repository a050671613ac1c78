import { readText } from '@countersign/radius';
import type { Method, RadiusClientDocument } from '@countersign/verification';

export type TypedPassword =
  | { kind: 'typed'; password: string | null; code: string | null; method: Method | null }
  /** What nobody's password or code can be: nothing is asked about it. */
  | { kind: 'wrong' };

const METHOD_WORDS: ReadonlyMap<string, Method> = new Map([
  ['push', 'app'],
  ['text', 'text'],
  ['call', 'call'],
]);

/** PINs are no shorter. */
const PIN_MIN_DIGITS = 4;

/**
 * What stands in a User-Password, by the client's settings alone (rule 22): a password, one with a code or the name of
 * a method behind a comma, one with a code right behind it, or a code where the client checks passwords itself.
 */
export function splitPassword(
  bytes: Buffer,
  client: Pick<RadiusClientDocument, 'firstFactor' | 'codeLength' | 'commaCode' | 'appendedCode'>,
): TypedPassword {
  const text = readText(bytes);
  if (text === undefined || text.includes('\0')) return { kind: 'wrong' };
  if (client.firstFactor.kind === 'none') return secondStep(null, withoutSpaces(text));
  const split = splitAtComma(text, client) ?? splitAppended(text, client);
  const typed = split ? secondStep(...split) : secondStep(text, '');
  // Directories take an empty password for no sign-in at all, and let it pass.
  return typed.password === '' ? { kind: 'wrong' } : typed;
}

/** The answer to a question: a code, or one with the PIN behind it. Null: it can be neither. */
export function splitAnswer(
  bytes: Buffer,
  { codeLength }: Pick<RadiusClientDocument, 'codeLength'>,
): { code: string; pin: string | null } | null {
  const typed = readText(bytes);
  if (typed === undefined || typed.includes('\0')) return null;
  const text = withoutSpaces(typed);
  const hasPin = /^\d+$/.test(text) && text.length >= codeLength + PIN_MIN_DIGITS;
  if (!hasPin) return { code: text, pin: null };
  return { code: text.slice(0, codeLength), pin: text.slice(codeLength) };
}

/** Authenticators show "123 456", and some people type what they see. */
function withoutSpaces(text: string): string {
  return /^[\d ]+$/.test(text) ? text.replaceAll(' ', '') : text;
}

function splitAtComma(
  text: string,
  { commaCode, codeLength }: Pick<RadiusClientDocument, 'commaCode' | 'codeLength'>,
): [password: string, tail: string] | null {
  const comma = commaCode ? text.lastIndexOf(',') : -1;
  if (comma === -1) return null;
  const tail = text.slice(comma + 1);
  const isCode = tail.length === codeLength && /^\d+$/.test(tail);
  return isCode || METHOD_WORDS.has(tail) ? [text.slice(0, comma), tail] : null;
}

function splitAppended(
  text: string,
  { appendedCode, codeLength }: Pick<RadiusClientDocument, 'appendedCode' | 'codeLength'>,
): [password: string, tail: string] | null {
  if (!appendedCode || text.length < codeLength) return null;
  const tail = text.slice(-codeLength);
  return /^\d+$/.test(tail) ? [text.slice(0, -codeLength), tail] : null;
}

function secondStep(
  password: string | null,
  tail: string,
): Extract<TypedPassword, { kind: 'typed' }> {
  const method = METHOD_WORDS.get(tail) ?? null;
  const code = method !== null || tail === '' ? null : tail;
  return { kind: 'typed', password, code, method };
}
