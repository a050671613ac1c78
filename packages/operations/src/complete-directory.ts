import { X509Certificate } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { directoryDefaults } from '@countersign/directory';
import type { DirectoryDocument, DirectoryFields, NewDirectory } from '@countersign/verification';

/** All of a directory but what the log gives it and its secret. */
export type DirectoryCore = Omit<
  DirectoryDocument,
  'id' | 'account' | 'items' | 'createdAt' | 'updatedAt'
> & { account: { name: string } | null };

/** How often people are read where nobody said it: once it is switched on. */
const SYNC = { enabled: false, intervalMinutes: 5, fullHours: 24 };

/**
 * A directory that asks of nobody what can be known: the rest is what works with most servers of its type.
 * `defaultCountry` is the company's.
 */
export function completeDirectory(given: NewDirectory, defaultCountry: string): DirectoryCore {
  const { sync, ...usual } = directoryDefaults(given.type);
  const { name, type, servers, baseDn } = given;
  const own = { name, type, domains: [], servers, account: null, baseDn, defaultCountry };
  return mergeDirectory({ ...usual, ...own, sync: { ...SYNC, ...sync } }, given);
}

/** A directory with what is given in place of what it had; of an account the name alone. */
export function mergeDirectory<T extends DirectoryCore>(before: T, given: DirectoryFields): T {
  const { account, certificates, filters, attributes = {}, sync, ...rest } = given;
  const { phones, ...others } = attributes;
  return {
    ...before,
    ...rest,
    certificates: { ...before.certificates, ...certificates },
    filters: { ...before.filters, ...filters },
    attributes: {
      ...before.attributes,
      ...others,
      phones: { ...before.attributes.phones, ...phones },
    },
    sync: { ...before.sync, ...sync },
    ...(account !== undefined && {
      account: account && { ...before.account, name: account.name ?? before.account?.name ?? '' },
    }),
  };
}

/** What is wrong with a directory that its schema cannot see; null: nothing. Names no values but addresses of servers. */
export function flawOfDirectory(directory: DirectoryCore): string | null {
  const { type, servers, startTls, certificates, account, sync } = directory;
  const open = startTls ? undefined : servers.find((server) => !isSafeWay(server));
  if (open !== undefined) {
    return `${open} would send passwords in the clear: use ldaps:// or StartTLS`;
  }
  if (new Set(servers.map((server) => server.toLowerCase())).size < servers.length) {
    return 'servers: one comes twice';
  }
  if (account?.name === '') return 'account.name: whose password is it';
  if (type !== 'active-directory' && sync.changes === 'dirsync') {
    return 'sync.changes: dirsync is of Active Directory alone';
  }
  return flawOfAuthorities(certificates.authorities);
}

const THIS_MACHINE = new BlockList();
THIS_MACHINE.addSubnet('127.0.0.0', 8, 'ipv4');
THIS_MACHINE.addAddress('::1', 'ipv6');

function isSafeWay(server: string): boolean {
  const { protocol, hostname } = new URL(server);
  if (protocol === 'ldaps:' || hostname === 'localhost') return true;
  const address = hostname.replace(/^\[|\]$/g, '');
  const version = isIP(address);
  return version !== 0 && THIS_MACHINE.check(address, version === 6 ? 'ipv6' : 'ipv4');
}

function flawOfAuthorities(pem: string | null): string | null {
  if (pem === null) return null;
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!blocks) return 'certificates.authorities: no certificate in PEM is in there';
  for (const block of blocks) {
    try {
      void new X509Certificate(block);
    } catch {
      return 'certificates.authorities: a certificate in there cannot be read';
    }
  }
  return null;
}
