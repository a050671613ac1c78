import { isIP } from 'node:net';

/** A node's name stands in its certificate, in subjects, paths and logs. */
const NODE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_NAME_MAX = 253;
const INTERNAL_SUFFIX = '.countersign';

/** Names and addresses beside the node's own that one certificate may carry. */
export const MAX_HOSTS = 16;

export type CertificateName = { type: 'dns' | 'ip'; value: string };

/** `<node>.<cluster id>.countersign`: the name by which the cluster's own connections check each other. */
export function internalName(nodeName: string, clusterId: string): string {
  return `${nodeName}.${clusterId}${INTERNAL_SUFFIX}`;
}

/**
 * What a node's certificate is for: its own two names and `hosts`, the names and addresses clients reach it by.
 */
export function namesOfNode(about: {
  name: string;
  clusterId: string;
  hosts: readonly string[];
}): CertificateName[] {
  const { name, clusterId, hosts } = about;
  const own = [name, internalName(name, clusterId)];
  const others = hosts.filter((host) => !own.includes(host));
  return [
    ...own.map((value): CertificateName => ({ type: 'dns', value })),
    ...others.map((value): CertificateName => ({ type: isIP(value) ? 'ip' : 'dns', value })),
  ];
}

/**
 * What is wrong with the names wanted for a node, in words; null: nothing. Nobody gets a certificate for another
 * node's name, for one of the cluster's inner names, or for a wildcard.
 */
export function flawOfNames(about: {
  name: string;
  hosts: readonly string[];
  otherNodes: readonly string[];
}): string | null {
  const { name, hosts, otherNodes } = about;
  if (!NODE_NAME.test(name)) return 'a node is named with 1-63 letters a-z, digits, inner hyphens';
  if (hosts.length > MAX_HOSTS) return `more than ${MAX_HOSTS} hosts`;
  if (new Set(hosts).size < hosts.length) return 'a host is named twice';
  for (const host of hosts) {
    if (host !== host.toLowerCase()) return `the host ${show(host)} is not in lower case`;
    if (isIP(host)) continue;
    if (!isDnsName(host)) return `${show(host)} is neither a host name nor an address`;
    if (`.${host}`.endsWith(INTERNAL_SUFFIX)) return `${host} is a name of the cluster's own`;
    if (otherNodes.includes(host)) return `${host} is another node's name`;
  }
  return null;
}

/** All digits and dots is an address that somebody mistyped. */
function isDnsName(host: string): boolean {
  if (host.length > DNS_NAME_MAX || /^[\d.]+$/.test(host)) return false;
  return host.split('.').every((label) => DNS_LABEL.test(label));
}

function show(host: string): string {
  return JSON.stringify(host.slice(0, 80));
}
