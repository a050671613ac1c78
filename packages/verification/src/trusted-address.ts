import { BlockList, isIP, SocketAddress } from 'node:net';

export type AddressRange = { family: 'ipv4' | 'ipv6' } & (
  | { kind: 'subnet'; network: string; prefix: number }
  | { kind: 'range'; first: string; last: string }
);

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** An address, `first-last` (first not above last), or a subnet; null for anything else, names and zones too. */
export function parseAddressRange(text: string): AddressRange | null {
  const [first = '', last, ...more] = text.split('-').map((part) => part.trim());
  if (more.length > 0) return null;
  if (last !== undefined) return parseFromTo(plain(first), plain(last));
  const [network = '', prefix, ...rest] = first.split('/');
  if (rest.length > 0) return null;
  const family = familyOf(plain(network));
  if (!family) return null;
  const bits = family === 'ipv4' ? 32 : 128;
  if (prefix === undefined)
    return { family, kind: 'subnet', network: plain(network), prefix: bits };
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits || network !== plain(network)) return null;
  return { family, kind: 'subnet', network, prefix: Number(prefix) };
}

function parseFromTo(first: string, last: string): AddressRange | null {
  const family = familyOf(first);
  if (!family || familyOf(last) !== family) return null;
  const list = new BlockList();
  try {
    list.addRange(first, last, family);
  } catch {
    return null;
  }
  return { family, kind: 'range', first, last };
}

function familyOf(address: string): 'ipv4' | 'ipv6' | null {
  const version = address.includes('%') ? 0 : isIP(address);
  if (version === 0) return null;
  return version === 4 ? 'ipv4' : 'ipv6';
}

/** An IPv4 address that came in an IPv6 coat is that IPv4 address (security rule 12). */
function plain(address: string): string {
  const mapped = MAPPED.exec(address);
  if (mapped) return mapped[1]!;
  if (isIP(address) !== 6) return address;
  const normal = new SocketAddress({ address, family: 'ipv6' }).address;
  return MAPPED.exec(normal)?.[1] ?? address;
}

/**
 * An address or network in the one form it has: `10.1.0.0/16`, `fd00::/8`, `192.0.2.7` (not /32). Null for what is
 * neither, for ranges, and for a network with bits set behind its prefix, which may be meant otherwise.
 */
export function plainNetwork(text: string): string | null {
  const [address = '', prefix, ...more] = text.trim().split('/');
  const family = familyOf(plain(address));
  if (!family || more.length > 0) return null;
  const [network, bits] =
    family === 'ipv4' ? ([plain(address), 32] as const) : ([hexForm(address), 128] as const);
  if (prefix === undefined) return network;
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits) return null;
  // Of a mapped network the prefix would count other bits.
  if (family === 'ipv4' && address.includes(':')) return null;
  if (hasBitsBehind(network, Number(prefix), family)) return null;
  return Number(prefix) === bits ? network : `${network}/${Number(prefix)}`;
}

/** RFC 5952, but always in hexadecimal digits: as URLs write it. */
function hexForm(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

function hasBitsBehind(network: string, prefix: number, family: 'ipv4' | 'ipv6'): boolean {
  return bitsOf(network, family).slice(prefix).includes('1');
}

function bitsOf(address: string, family: 'ipv4' | 'ipv6'): string {
  if (family === 'ipv4') {
    return address
      .split('.')
      .map((byte) => Number(byte).toString(2).padStart(8, '0'))
      .join('');
  }
  const [head = '', tail] = address.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('');
}

/** Whether an address lies in one of the ranges. What is no address, or no range, never does. */
export function isTrustedAddress(address: string | null, ranges: readonly string[]): boolean {
  if (address === null || ranges.length === 0) return false;
  const asked = plain(address);
  const family = familyOf(asked);
  if (!family) return false;
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseAddressRange(text);
    if (range?.family !== family) continue;
    if (range.kind === 'subnet') list.addSubnet(range.network, range.prefix, family);
    else list.addRange(range.first, range.last, family);
  }
  return list.check(asked, family);
}
