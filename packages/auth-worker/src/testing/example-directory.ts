import { randomUUID } from 'node:crypto';
import { directoryDefaults } from '@countersign/directory';
import type { DirectoryDocument } from '@countersign/verification';

/** Of people called by these domains. */
export function exampleDirectory(name: string, domains: string[]): DirectoryDocument {
  const at = new Date().toISOString();
  const defaults = directoryDefaults('active-directory');
  return {
    ...defaults,
    id: randomUUID(),
    name,
    type: 'active-directory',
    domains,
    servers: ['ldaps://dc1.example.com'],
    account: null,
    baseDn: 'DC=example,DC=com',
    defaultCountry: 'NL',
    sync: { ...defaults.sync, enabled: true, intervalMinutes: 5, fullHours: 24 },
    items: [],
    createdAt: at,
    updatedAt: at,
  };
}
