import { isIPv4, isIPv6 } from 'node:net';

/**
 * The 4 or 16 bytes of an address, null when it is none. An IPv4-mapped IPv6 address is that IPv4
 * address (rule 12), a zone (`fe80::1%eth0`) is left out.
 */
export function parseAddress(address: string): Buffer | null {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address)) return null;
  const [withoutZone = ''] = address.split('%');
  const [head = '', tail] = withoutZone.split('::');
  const left = readGroups(head);
  const right = tail === undefined ? [] : readGroups(tail);
  const bytes = Buffer.alloc(16);
  bytes.set(left);
  bytes.set(right, 16 - right.length);
  return bytes.subarray(0, 12).equals(mappedPrefix) ? bytes.subarray(12) : bytes;
}

/** An address as it is compared and shown; null when it is none. */
export function normalizeAddress(address: string): string | null {
  // It has one form only.
  if (isIPv4(address)) return address;
  const bytes = parseAddress(address);
  return bytes && formatAddress(bytes);
}

/** 4 bytes as IPv4, 16 as IPv6 in the form of RFC 5952. */
export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  const zeros = findLongestZeros(groups);
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  if (zeros.length < 2) return text(0, 8);
  return `${text(0, zeros.start)}::${text(zeros.start + zeros.length, 8)}`;
}

const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex');

// `text` is part of a valid address: groups of hexadecimal digits, the last may be IPv4.
function readGroups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const number = Number.parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}

function findLongestZeros(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > longest.length) longest = { start, length: index + 1 - start };
  }
  return longest;
}
