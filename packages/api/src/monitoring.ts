import { BlockList, isIPv6 } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { normaliseAddress } from './client-address.ts';

/** Of this machine alone. */
export const MONITORING_DEFAULT: readonly string[] = ['127.0.0.0/8', '::1/128'];

/**
 * Whether somebody asks who may look without a key: from one of these networks, or from this machine itself. What a
 * proxy that nobody trusts brings is from anywhere, also where the proxy is on this machine.
 */
export function monitoringFrom(
  networks: readonly string[],
): (request: Pick<FastifyRequest, 'ip' | 'headers' | 'socket'>) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [base = '', bits] = network.split('/');
    const family = isIPv6(base) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(base, family);
    else list.addSubnet(base, Number(bits), family);
  }
  return ({ ip, headers, socket }) => {
    const asked = normaliseAddress(ip);
    const peer = normaliseAddress(socket.remoteAddress);
    if (asked === null) return false;
    const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined;
    if (isForwarded && asked === peer) return false;
    if (!isForwarded && peer === normaliseAddress(socket.localAddress)) return true;
    return list.check(asked, isIPv6(asked) ? 'ipv6' : 'ipv4');
  };
}
