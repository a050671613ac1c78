import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClusterKeyFile, deriveKeys, KeyError } from '@countersign/keys';
import type { DirectoryDocument } from '@countersign/verification';
import { afterAll, describe, expect, it } from 'vitest';
import { directoryConfigOf } from './directory-config.ts';
import { sealDirectoryPassword } from './directory-password.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-operations-'));
const { seed } = deriveKeys(createClusterKeyFile(join(folder, 'cluster.key')), ['seed']);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const place = {
  id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
  servers: ['ldaps://dc1.corp.test', 'ldaps://dc2.corp.test'],
  startTls: false,
  certificates: { authorities: null, pinned: [], serverName: null },
};
const account = { name: 'cn=reader,dc=corp,dc=test', password: 'pässword' };
const sealedPassword = sealDirectoryPassword(seed, { ...place, account }, account.password);

function documentOf(differs: Partial<DirectoryDocument> = {}): DirectoryDocument {
  return {
    ...place,
    name: 'corp',
    account: { name: account.name, sealedPassword },
    sync: { enabled: true, intervalMinutes: 1, changes: 'auto', fullHours: 24 },
    ...differs,
  } as DirectoryDocument;
}

describe('the password of a directory', () => {
  it('opens for the account and the place it was given for, whatever the order of servers', () => {
    expect(directoryConfigOf(documentOf(), seed).account).toEqual(account);
    const turned = documentOf({ servers: place.servers.toReversed() });
    expect(directoryConfigOf(turned, seed).account).toEqual(account);
    expect(directoryConfigOf(documentOf({ account: null }), seed).account).toBeNull();
  });

  it.each<[string, Partial<DirectoryDocument>]>([
    ['another server', { servers: ['ldaps://dc1.corp.test', 'ldaps://evil.test'] }],
    ['no encryption', { startTls: true }],
    ['other authorities', { certificates: { ...place.certificates, authorities: 'PEM' } }],
    ['another pin', { certificates: { ...place.certificates, pinned: ['a'.repeat(64)] } }],
    ['another name to expect', { certificates: { ...place.certificates, serverName: 'evil' } }],
    ['another directory', { id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c' }],
    ['another account', { account: { name: 'cn=admin', sealedPassword } }],
  ])('does not open for %s', (_, differs) => {
    expect(() => directoryConfigOf(documentOf(differs), seed)).toThrow(KeyError);
  });
});
