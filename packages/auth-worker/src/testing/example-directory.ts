import { randomUUID } from 'node:crypto';
import { completeDirectory } from '@countersign/operations';
import type { DirectoryDocument } from '@countersign/verification';

/** Of people called by these domains. */
export function exampleDirectory(name: string, domains: string[]): DirectoryDocument {
  const at = new Date().toISOString();
  const given = {
    name,
    type: 'active-directory' as const,
    domains,
    servers: ['ldaps://dc1.example.com'],
    baseDn: 'DC=example,DC=com',
    sync: { enabled: true },
  };
  const complete = completeDirectory(given, 'NL');
  return { ...complete, id: randomUUID(), account: null, items: [], createdAt: at, updatedAt: at };
}
