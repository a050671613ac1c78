import { randomUUID } from 'node:crypto';
import { completeDirectory } from '@countersign/operations';
import type { DirectoryDocument, DirectorySyncDocument } from '@countersign/verification';

const AT = '2026-03-01T12:00:00.000Z';

export function exampleDirectory(name: string, id: string = randomUUID()): DirectoryDocument {
  const given = {
    name,
    type: 'active-directory' as const,
    domains: ['CORP', 'corp.test'],
    servers: ['ldaps://dc1.corp.test'],
    baseDn: 'DC=corp,DC=test',
    sync: { enabled: true },
  };
  const complete = completeDirectory(given, 'NL');
  return { ...complete, id, account: null, items: [], createdAt: AT, updatedAt: AT };
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
