import { BlockList, isIPv6 } from 'node:net';
import type { ApiKeyDocument } from '@countersign/verification';
import { hashApiKey } from './keys.ts';

/** The key's document if it may be used now and from that address (null = not known, e.g. in the master's agent). */
export async function authenticateKey(
  findApiKey: (secretHash: string) => Promise<ApiKeyDocument | null>,
  secret: string,
  remoteAddress: string | null,
  nowMs: number,
): Promise<ApiKeyDocument | null> {
  const key = await findApiKey(hashApiKey(secret));
  if (!key) return null;
  if (key.expiresAt !== null && Date.parse(key.expiresAt) <= nowMs) return null;
  if (key.networks && remoteAddress !== null && !isWithin(key.networks, remoteAddress)) return null;
  return key;
}

function isWithin(networks: string[], address: string): boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [base = '', bits = ''] = network.split('/');
    list.addSubnet(base, Number(bits), isIPv6(base) ? 'ipv6' : 'ipv4');
  }
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}
