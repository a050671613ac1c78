import { describe, expect, it } from 'vitest';
import { DOCUMENT_KINDS, DocumentError, checkDocument, parseDocument } from './documents.ts';
import { randomJson, seededRandom } from './seeded-random.ts';

const at = '2025-06-01T12:00:00.000Z';
const id = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';
const totp = {
  id,
  type: 'totp',
  algorithm: 'SHA1',
  digits: 6,
  periodSeconds: 30,
  sealedSecret: 'AQID',
  createdAt: at,
};
const hotp = {
  id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c',
  type: 'hotp',
  name: 'grey token',
  algorithm: 'SHA512',
  digits: 8,
  initialCounter: 0,
  sealedSecret: 'AQID',
  createdAt: at,
};
const user = {
  id,
  username: 'alice',
  enabled: true,
  blocked: { reason: 'lost her phone', at, by: 'admin', expiresAt: at },
  unlockedAt: null,
  authenticators: [totp, hotp],
  createdAt: at,
  updatedAt: at,
};
const apiKey = {
  id,
  name: 'portal',
  secretHash: 'a'.repeat(64),
  scopes: ['verify', 'reasons:read'],
  applications: null,
  networks: ['10.0.0.0/8', '2001:db8::/32'],
  expiresAt: null,
  createdAt: at,
};
const node = { id: 'node-1', name: 'node-1', addedAt: at, version: '0.1.0' };

describe('documents', () => {
  it('read back as they were written', () => {
    expect(parseDocument('user', JSON.stringify(user))).toEqual(user);
    expect(parseDocument('api-key', Buffer.from(JSON.stringify(apiKey)))).toEqual(apiKey);
    expect(parseDocument('node', JSON.stringify(node))).toEqual(node);
    const settings = { id: 'failover', mode: 'manual' };
    expect(parseDocument('settings', JSON.stringify(settings))).toEqual(settings);
  });

  it.each([
    ['an unknown field', { ...user, role: 'admin' }],
    ['an id that is not a lower-case UUID', { ...user, id: id.toUpperCase() }],
    ['a username with a bidi character', { ...user, username: 'a\u202eb' }],
    ['a display name with a control character', { ...user, displayName: 'a\u0007' }],
    ['a display name of 257 bytes', { ...user, displayName: `${'é'.repeat(128)}a` }],
    ['a block without an end', { ...user, blocked: { ...user.blocked, expiresAt: null } }],
    ['a block that ends at no moment', { ...user, blocked: { ...user.blocked, expiresAt: 'x' } }],
    ['a day that is not', { ...user, unlockedAt: '2025-02-30T00:00:00Z' }],
    ['a block without a reason', { ...user, blocked: { ...user.blocked, reason: '' } }],
    ['five digits', { ...user, authenticators: [{ ...totp, digits: 5 }] }],
    ['a 45 s period', { ...user, authenticators: [{ ...totp, periodSeconds: 45 }] }],
    ['a negative counter', { ...user, authenticators: [{ ...hotp, initialCounter: -1 }] }],
    ['a counter past 2^48', { ...user, authenticators: [{ ...hotp, initialCounter: 2 ** 49 }] }],
    ['MD5', { ...user, authenticators: [{ ...totp, algorithm: 'MD5' }] }],
    ['a seed that is not base64', { ...user, authenticators: [{ ...totp, sealedSecret: '!!!!' }] }],
    ['two authenticators with one id', { ...user, authenticators: [totp, totp] }],
    ['21 authenticators', { ...user, authenticators: manyAuthenticators(21) }],
  ])('refuse a user with %s', (_, document) => {
    expect(() => checkDocument('user', document)).toThrow(DocumentError);
  });

  it('allow 20 authenticators', () => {
    const document = { ...user, authenticators: manyAuthenticators(20) };
    expect(checkDocument('user', document).authenticators.length).toBe(20);
  });

  it.each([
    ['an unknown scope', { ...apiKey, scopes: ['root'] }],
    ['a hash of the wrong length', { ...apiKey, secretHash: 'ab' }],
    ['an address that is no range', { ...apiKey, networks: ['10.0.0.0/33'] }],
    ['a missing expiry', { ...apiKey, expiresAt: undefined }],
  ])('refuse an API key with %s', (_, document) => {
    expect(() => checkDocument('api-key', document)).toThrow(DocumentError);
  });

  it('refuse a node whose id is not its name, or whose name fits no subject', () => {
    expect(() => checkDocument('node', { ...node, id: 'node-2' })).toThrow(DocumentError);
    for (const name of ['', 'a.b', 'A', '*', '>', '-a', 'a-', 'a'.repeat(64)]) {
      expect(() => checkDocument('node', { ...node, id: name, name })).toThrow(DocumentError);
    }
  });

  it('name the wrong field in the error and never its value', () => {
    const document = { ...user, authenticators: [{ ...totp, sealedSecret: 'HUSH!' }] };
    expect(() => checkDocument('user', document)).toThrow('authenticators.0.sealedSecret');
    expect(() => checkDocument('user', document)).not.toThrow('HUSH');
    expect(() => parseDocument('user', '{"seed":"HUSH')).not.toThrow('HUSH');
  });

  it('refuse random bytes and random JSON with a DocumentError and nothing else', () => {
    const random = seededRandom(1);
    for (let round = 0; round < 2000; round += 1) {
      const kind = DOCUMENT_KINDS[round % DOCUMENT_KINDS.length] ?? 'user';
      const bytes = Uint8Array.from({ length: random(80) }, () => random(256));
      expect(() => parseDocument(kind, bytes)).toThrow(DocumentError);
      const known = { ...user, ...apiKey, ...node };
      const field = Object.keys(known)[random(Object.keys(known).length)] ?? 'id';
      const value = { ...known, [field]: randomJson(random) };
      expect(() => parseDocument(kind, JSON.stringify(value))).toThrow(DocumentError);
    }
  });
});

function manyAuthenticators(count: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    ...totp,
    id: `0190a1b2-c3d4-7e5f-8a9b-${String(index).padStart(12, '0')}`,
  }));
}
