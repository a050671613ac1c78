import type { TestSamba } from '@countersign/testing';

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
