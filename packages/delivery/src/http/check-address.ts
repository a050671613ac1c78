import ipaddr from 'ipaddr.js';

export interface AddressPolicy {
  /** Addresses and CIDR ranges of the cluster's own nodes: a sender never talks to them. */
  clusterAddresses: readonly string[];
  /**
   * Exact `host` or `host:port` of URLs (as `URL.host` writes them) that may be at any address and
   * use plain http, such as a gateway on this machine. Belongs into a node's own configuration,
   * not where everybody who may change settings can reach it.
   */
  allowedHosts: readonly string[];
  /** The system's resolver when left out. */
  resolveName?: (host: string) => Promise<FoundAddress[]>;
}

export interface FoundAddress {
  address: string;
  family: number;
}

const refusedRanges = new Set([
  'unspecified',
  'loopback',
  'linkLocal',
  'multicast',
  'broadcast',
  'reserved',
  'benchmarking',
  'discard',
  'deprecatedSiteLocal',
  // An IPv4 address wrapped into IPv6: what is inside could be any of the above.
  'rfc6145',
  'rfc6052',
  '6to4',
  'teredo',
]);

/** Why a sender must not connect to an address; undefined where it may. */
export function refuseAddress(address: string, policy: AddressPolicy): string | undefined {
  if (!ipaddr.isValid(address)) return 'not an address';
  // `process` also unwraps an IPv4-mapped address.
  const parsed = ipaddr.process(address);
  if (refusedRanges.has(parsed.range())) return `a ${parsed.range()} address`;
  if (policy.clusterAddresses.some((range) => holds(range, parsed))) return 'a cluster address';
  return undefined;
}

export function isHostAllowed(url: URL, policy: AddressPolicy): boolean {
  return policy.allowedHosts.some((host) => host.toLowerCase() === url.host);
}

type Address = ReturnType<typeof ipaddr.process>;

function holds(range: string, address: Address): boolean {
  const [network, bits] = ipaddr.isValidCIDR(range)
    ? ipaddr.parseCIDR(range)
    : ([ipaddr.process(range), undefined] as const);
  const unwrapped = ipaddr.process(network.toString());
  if (unwrapped.kind() !== address.kind()) return false;
  return address.match(unwrapped, bits ?? (address.kind() === 'ipv4' ? 32 : 128));
}
