import { describe, expect, it } from 'vitest';
import type { VerificationAttempt } from '@countersign/api';
import { AttemptIds } from './attempt-ids.ts';

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
const idsUnder = (used: typeof key, sent: VerificationAttempt) => {
  const { attemptId, keyHash, verificationId, waitId } = new AttemptIds(used, sent);
  return { attemptId, keyHash, verificationId, waitId };
};
const ids = idsUnder(key, attempt);
const idsWith = (changed: Partial<VerificationAttempt>) =>
  idsUnder(key, { ...attempt, ...changed });

describe('the ids of an attempt', () => {
  it('are the same wherever and by whichever connection it is repeated', () => {
    expect(idsWith({})).toEqual(ids);
    expect(idsWith({ remoteAddress: '10.0.0.9' })).toEqual(ids);
    expect(idsUnder({ ...key }, attempt)).toEqual(ids);
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

  it('are found again by a node that is further with a change of the key, or less far', () => {
    const next = { keyId: '99887766', key: Buffer.alloc(32, 8) };
    const behind = { ...key, others: [next] };
    const ahead = { ...next, others: [key] };
    const sent = { ...attempt, resentKeys: ['key-0'], lastingKeys: ['key-9'] };
    for (const [first, then] of [
      [behind, ahead],
      [ahead, behind],
      [key, ahead],
    ] as const) {
      const made = new AttemptIds(first, attempt);
      const again = new AttemptIds(then, sent).resent.find(
        ({ attemptId }) => attemptId === made.attemptId,
      );
      expect(again?.waitId).toBe(made.waitId);
      expect(again?.keyHash).toBe(made.keyHash);
      expect(again?.keyId).toBe(made.keyId);
      for (const idempotencyKey of ['key-0', 'key-9']) {
        const before = new AttemptIds(first, { ...attempt, idempotencyKey }).attemptId;
        const known = new AttemptIds(then, sent);
        const all = [...known.resent, ...known.lasting()].map(({ attemptId }) => attemptId);
        expect(all).toContain(before);
      }
    }
    // Once the old key is gone nothing is looked for under it.
    expect(new AttemptIds(next, attempt).resent).toEqual([]);
    expect(new AttemptIds(ahead, { ...attempt, idempotencyKey: null }).resent).toEqual([]);
  });

  it('stay what they are when the key is renewed meanwhile', () => {
    const held = { ...key };
    const made = new AttemptIds(held, attempt);
    const { attemptId } = made;
    Object.assign(held, { keyId: '99887766', key: Buffer.alloc(32, 8), others: [key] });
    const { waitId, keyHash } = new AttemptIds(key, attempt);
    expect({
      ...ids,
      attemptId: made.attemptId,
      waitId: made.waitId,
      keyHash: made.keyHash,
    }).toEqual({
      ...ids,
      attemptId,
      waitId,
      keyHash,
    });
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
    const other = idsUnder({ ...key, key: Buffer.alloc(32, 8) }, attempt);
    expect(other.attemptId).not.toBe(ids.attemptId);
    expect(JSON.stringify([ids, new AttemptIds(key, attempt)])).not.toContain('123456');
  });

  it('under other keys that it was sent with are those of an attempt with that key', () => {
    const sent = { ...attempt, resentKeys: ['key-0'], lastingKeys: ['key-8', 'key-9'] };
    const resent = new AttemptIds(key, sent);
    const under = (idempotencyKey: string) => idsWith({ idempotencyKey }).attemptId;
    expect(resent.attemptId).toBe(ids.attemptId);
    expect(resent.resent.map(({ attemptId }) => attemptId)).toEqual([under('key-0')]);
    expect(resent.lasting().map(({ attemptId }) => attemptId)).toEqual([
      under('key-8'),
      under('key-9'),
    ]);
  });

  it('shown to the caller are well-formed UUIDs of version 8', () => {
    expect(ids.verificationId).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});
