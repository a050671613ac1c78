import { parseAddress } from './ip-address.ts';
import { RadiusError } from './radius-packet.ts';

/** Who may send from where: addresses and networks (`10.1.0.0/16`, `fd00::/8`, `192.0.2.7`). */
export interface ClientAddresses<Client> {
  readonly addresses: readonly string[];
  readonly client: Client;
}

/**
 * A function that finds the client of an address by the longest prefix that holds it. IPv4-mapped
 * addresses count as IPv4. Throws RadiusError for text that is no network, one with bits set
 * behind its prefix, or one listed twice.
 */
export function makeClientMatcher<Client>(
  entries: readonly ClientAddresses<Client>[],
): (address: string) => Client | null {
  const tables: Record<4 | 16, Map<number, Map<string, Client>>> = { 4: new Map(), 16: new Map() };
  for (const { addresses, client } of entries) {
    for (const text of addresses) {
      const { bytes, prefixBits } = parseNetwork(text);
      const table = tables[bytes.length as 4 | 16];
      const networks = table.get(prefixBits) ?? new Map<string, Client>();
      table.set(prefixBits, networks);
      const key = bytes.toString('latin1');
      if (networks.has(key)) throw new RadiusError(`the network ${text} is listed twice`);
      networks.set(key, client);
    }
  }
  const longestFirst = {
    4: [...tables[4]].sort(([a], [b]) => b - a),
    16: [...tables[16]].sort(([a], [b]) => b - a),
  };
  return (address) => {
    const bytes = parseAddress(address);
    if (!bytes) return null;
    for (const [prefixBits, networks] of longestFirst[bytes.length as 4 | 16]) {
      const client = networks.get(mask(bytes, prefixBits).toString('latin1'));
      if (client !== undefined) return client;
    }
    return null;
  };
}

/** Address and length of a network; a mapped one (`::ffff:10.0.0.0/104`) becomes IPv4. */
export function parseNetwork(text: string): { bytes: Buffer; prefixBits: number } {
  const [address = '', prefix, ...more] = text.split('/');
  const bytes = parseAddress(address);
  const isPlain = prefix === undefined || /^\d{1,3}$/.test(prefix);
  if (!bytes || address.includes('%') || !isPlain || more.length > 0) {
    throw new RadiusError(`${JSON.stringify(text)} is no address or network`);
  }
  const mappedBits = bytes.length === 4 && address.includes(':') ? 96 : 0;
  const bits = bytes.length * 8;
  const prefixBits = prefix === undefined ? bits : Number(prefix) - mappedBits;
  if (prefixBits < 0 || prefixBits > bits) {
    throw new RadiusError(`${JSON.stringify(text)} is no address or network`);
  }
  if (!mask(bytes, prefixBits).equals(bytes)) {
    throw new RadiusError(`the network ${text} has bits set behind its prefix`);
  }
  return { bytes, prefixBits };
}

function mask(bytes: Buffer, prefixBits: number): Buffer {
  if (prefixBits === bytes.length * 8) return bytes;
  return Buffer.from(
    bytes.map((byte, index) => {
      const kept = Math.min(Math.max(prefixBits - index * 8, 0), 8);
      return byte & (0xff00 >> kept);
    }),
  );
}
