import type { TestSamba, TestSlapd } from '@countersign/testing';
import type { ApiClient } from './api-client.ts';

/** A Samba domain as POST /api/v1/directories takes it. */
export function activeDirectory(samba: TestSamba, sync: object): object {
  return {
    name: 'corp',
    type: 'active-directory',
    domains: ['CORP', 'corp.test'],
    servers: [samba.ldapsUrl],
    certificates: { authorities: samba.authority },
    account: { name: samba.reader.name, password: samba.reader.password },
    baseDn: samba.baseDn,
    sync,
  };
}

/** A real directory `people` for a cluster, some of whose people become users. */
export async function importPeople(
  api: ApiClient,
  slapd: TestSlapd,
  usernames: readonly string[],
  more: { servers?: string[]; connectMs?: number; answerMs?: number } = {},
): Promise<void> {
  await api.done('POST', '/api/v1/directories', {
    name: 'people',
    type: 'ldap',
    domains: ['example.test'],
    servers: [slapd.ldapUrl],
    account: slapd.reader,
    baseDn: slapd.baseDn,
    ...more,
  });
  const objects: string[] = [];
  for (const username of usernames) {
    const path = `/api/v1/directories/people/people?search=${username}&limit=1`;
    const { people } = await api.done<{ people: { object: string }[] }>('GET', path);
    objects.push(...people.map(({ object }) => object));
  }
  await api.done('POST', '/api/v1/directories/people/import', { objects });
}
