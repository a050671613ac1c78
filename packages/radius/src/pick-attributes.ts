import { findAttributeByType, type NamedAttribute } from './dictionary.ts';
import type { Attribute } from './radius-packet.ts';
import { makeVendorValue, readVendorValue, splitVendorValue } from './vendor-attributes.ts';

const vendorSpecific = 26;
/** User-Password, CHAP-Password, State, Proxy-State, EAP-Message, Message-Authenticator: each hop has its own. */
const hopByHop: ReadonlySet<number> = new Set([2, 3, 24, 33, 79, 80]);

/**
 * Those of a reply that are named, in their order. Of a vendor attribute that holds several the named ones remain, each
 * in one of its own; one that is not in the form of RFC 2865 §5.26 is left out, and what is one hop's business always.
 */
export function pickAttributes(
  attributes: readonly Attribute[],
  named: readonly NamedAttribute[],
): Attribute[] {
  const wanted = new Set(named.map(({ type, vendor }) => keyOf(type, vendor)));
  return attributes.flatMap(({ type, value }) => {
    if (type !== vendorSpecific) {
      return wanted.has(keyOf(type)) && !hopByHop.has(type) ? [{ type, value }] : [];
    }
    const read = readVendorValue(value);
    const parts = (read && splitVendorValue(read.data)) ?? [];
    return parts
      .filter((part) => wanted.has(keyOf(part.type, read!.vendor)))
      .map((part) => ({ type, value: makeVendorValue(read!.vendor, [part]) }));
  });
}

/** Those of a request that another server may be asked with: all but one hop's business, and what proves somebody. */
export function withoutHopAttributes(attributes: readonly Attribute[]): Attribute[] {
  return attributes.filter(({ type }) => !hopByHop.has(type));
}

function keyOf(type: number, vendor = 0): string {
  return `${vendor}/${type}`;
}

/** What MSCHAPv2 needs back from whoever judged it (RFC 2548 §2). */
export const mschapReplies: readonly NamedAttribute[] = [2, 7, 8, 10, 12, 16, 17, 26].map((type) =>
  findAttributeByType(type, 311)!,
);
