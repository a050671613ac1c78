import { describe, expect, it } from 'vitest';
import type { VerificationAttempt } from '@countersign/api';
import { attemptIdsOf } from './attempt-ids.ts';

const key = { keyId: '0a1b2c3d', key: Buffer.alloc(32, 7) };
const attempt: VerificationAttempt = {
  caller: {
    id: '01990000-0000-7000-8000-000000000001',
    name: 'vpn',
    scopes: new Set(['verify']),
    applications: null,
    proof: { kind: 'api-key', secret: 'secret' },
  },
  username: 'alice',
  door: 'http',
  code: '123456',
  pin: null,
  newPin: null,
  password: null,
  method: null,
  challenge: null,
  application: null,
  clientIp: null,
  remoteAddress: '127.0.0.1',
  idempotencyKey: 'key-1',
};
const ids = attemptIdsOf(key, attempt);
const idsWith = (changed: Partial<VerificationAttempt>) =>
  attemptIdsOf(key, { ...attempt, ...changed });

describe('the ids of an attempt', () => {
  it('are the same wherever and by whichever connection it is repeated', () => {
    expect(idsWith({})).toEqual(ids);
    expect(idsWith({ remoteAddress: '10.0.0.9' })).toEqual(ids);
    expect(attemptIdsOf({ ...key }, attempt)).toEqual(ids);
  });

  it.each<[string, Partial<VerificationAttempt>]>([
    ['code', { code: '123457' }],
    ['PIN', { pin: '8024' }],
    ['new PIN', { newPin: '7391' }],
    ['method', { method: 'text' }],
    ['user', { username: 'bob' }],
    ['application', { application: 'mail' }],
    ['end user address', { clientIp: '192.0.2.1' }],
  ])('of another %s under the same key differ, but name the same key', (_what, changed) => {
    const other = idsWith(changed);
    expect(other.attemptId).not.toBe(ids.attemptId);
    expect(other.verificationId).not.toBe(ids.verificationId);
    expect(other.keyHash).toBe(ids.keyHash);
  });

  it('of another caller with the same key have nothing in common', () => {
    const other = idsWith({ caller: { ...attempt.caller, id: 'another' } });
    expect(other.attemptId).not.toBe(ids.attemptId);
    expect(other.keyHash).not.toBe(ids.keyHash);
  });

  it('without a key differ every time, and nothing can be taken for a repetition', () => {
    const [one, other] = [idsWith({ idempotencyKey: null }), idsWith({ idempotencyKey: null })];
    expect(one.attemptId).not.toBe(other.attemptId);
    expect([one.keyHash, other.keyHash]).toEqual([null, null]);
  });

  it('treat spellings of one user name as one user', () => {
    expect(idsWith({ username: 'ALICE' })).toEqual(ids);
  });

  it('do not let text slip from one field into the next', () => {
    const application = idsWith({ code: '1', application: '23' });
    expect(application.attemptId).not.toBe(idsWith({ code: '12', application: '3' }).attemptId);
  });

  it('depend on the cluster key and show nothing of the code', () => {
    const other = attemptIdsOf({ ...key, key: Buffer.alloc(32, 8) }, attempt);
    expect(other.attemptId).not.toBe(ids.attemptId);
    expect(JSON.stringify(ids)).not.toContain('123456');
  });

  it('shown to the caller are well-formed UUIDs of version 8', () => {
    expect(ids.verificationId).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});
