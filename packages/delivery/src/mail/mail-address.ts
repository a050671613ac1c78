import { domainToASCII } from 'node:url';

// What HTML's <input type=email> takes: no quotes, spaces, commas or angle brackets, so that no
// parser reads two addresses, or another one, in it.
const local = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/;
const domain =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/**
 * A mail address fit for an envelope, its domain in ASCII; undefined for anything else: longer than
 * 254, quoted, with a name, or not ASCII before the @.
 */
export function readMailAddress(text: string): string | undefined {
  if (text.length > 254) return undefined;
  const at = text.lastIndexOf('@');
  const [before, after] = [text.slice(0, Math.max(at, 0)), domainToASCII(text.slice(at + 1))];
  const address = `${before}@${after}`;
  if (before.length > 64 || address.length > 254) return undefined;
  return local.test(before) && domain.test(after) ? address : undefined;
}
