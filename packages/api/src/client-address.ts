import { isIP, isIPv4, SocketAddress } from 'node:net';

/**
 * One spelling per address, or null if it is none: IPv4-mapped IPv6 becomes IPv4, zone ids are dropped
 * and IPv6 is written in its canonical form.
 */
export function normaliseAddress(address: string | undefined): string | null {
  const bare = (address ?? '').split('%', 1)[0] ?? '';
  if (isIPv4(bare)) return bare;
  if (isIP(bare) !== 6) return null;
  const canonical = new SocketAddress({ address: bare, family: 'ipv6' }).address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(canonical);
  return mapped?.[1] ?? mappedFromHex(canonical) ?? canonical;
}

function mappedFromHex(canonical: string): string | null {
  const groups = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(canonical);
  if (groups === null) return null;
  const [high, low] = [parseInt(groups[1] ?? '', 16), parseInt(groups[2] ?? '', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
