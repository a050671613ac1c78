import { randomUUID } from 'node:crypto';
import type { DirectoryDocument, DirectorySyncDocument } from '@countersign/verification';

const AT = '2026-03-01T12:00:00.000Z';

export function exampleDirectory(name: string, id: string = randomUUID()): DirectoryDocument {
  return {
    id,
    name,
    type: 'active-directory',
    domains: ['CORP', 'corp.test'],
    servers: ['ldaps://dc1.corp.test'],
    startTls: false,
    certificates: { authorities: null, pinned: [], serverName: null },
    account: null,
    baseDn: 'DC=corp,DC=test',
    filters: { container: '(ou=*)', group: '(cn=*)', user: '(cn=*)' },
    attributes: {
      uniqueId: 'objectGUID',
      uniqueIdType: 'guid',
      usernames: ['sAMAccountName'],
      shortName: 'sAMAccountName',
      firstName: null,
      lastName: null,
      displayName: null,
      mail: 'mail',
      description: null,
      language: null,
      group: null,
      phones: {
        business: null,
        home: null,
        mobile: 'mobile',
        pager: null,
        fax: null,
        ip: null,
        custom: null,
      },
      extension: null,
    },
    defaultCountry: 'NL',
    connectMs: 5000,
    answerMs: 30_000,
    pageSize: 500,
    peopleMax: 1000,
    sync: { enabled: true, intervalMinutes: 5, changes: 'auto', fullHours: 24 },
    items: [],
    createdAt: AT,
    updatedAt: AT,
  };
}

export function exampleDirectorySync(id: string): DirectorySyncDocument {
  return {
    id,
    cursor: { kind: 'timestamps', since: '20260301120000Z' },
    basis: null,
    lastFullAt: null,
    last: null,
    taken: [],
    held: null,
  };
}
