import type { TestSamba, TestSlapd } from '@countersign/testing';
import { Connection } from '../connection.ts';
import { directoryDefaults } from '../defaults.ts';
import { parseServer } from '../open-socket.ts';
import type { Reading } from '../reading.ts';
import { readPeople } from '../read-people.ts';
import type { DirectoryConfig, Person } from '../types.ts';

/** A new connection for each piece of work, bound as the account that reads. */
export function readingOf(config: DirectoryConfig): Reading {
  return {
    config,
    withConnection: async (work) => {
      await using connection = await Connection.open(parseServer(config.servers[0]!), config);
      const { code, text } = await connection.bind(config.account!.name, config.account!.password);
      if (code !== 0) throw new Error(`bind: ${code} ${text}`);
      return await work(connection);
    },
  };
}

export function sambaConfig(samba: TestSamba): DirectoryConfig {
  return {
    ...directoryDefaults('active-directory'),
    name: 'Corp',
    type: 'active-directory',
    domains: [samba.netbios, samba.realm.toLowerCase()],
    servers: [samba.ldapsUrl],
    certificates: { authorities: samba.authority, pinned: [], serverName: samba.host },
    account: samba.reader,
    baseDn: samba.baseDn,
    defaultCountry: 'NL',
  };
}

export function slapdConfig(slapd: TestSlapd): DirectoryConfig {
  return {
    ...directoryDefaults('ldap'),
    name: 'Example',
    type: 'ldap',
    domains: ['example.test'],
    servers: [slapd.ldapUrl],
    account: slapd.reader,
    baseDn: slapd.baseDn,
    defaultCountry: 'NL',
  };
}

export async function readPages(reading: Reading): Promise<Person[][]> {
  const pages: Person[][] = [];
  for await (const page of readPeople(reading, new AbortController().signal)) pages.push(page);
  return pages;
}
