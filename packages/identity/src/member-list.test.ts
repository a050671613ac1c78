import { expect, it } from 'vitest';
import { createAuthority } from './create-authority.ts';
import { signMembers, verifyMembers, type Member } from './member-list.ts';
import { createUserSeed, isUserPublicKey, publicKeyOfSeed } from './nkey-users.ts';

const authority = await createAuthority({ clusterId: 'aa'.repeat(10) });
const newKey = () => publicKeyOfSeed(createUserSeed());
const node: Member = {
  name: 'node-1',
  role: 'node',
  agentKey: newKey(),
  workerKey: newKey(),
  supervisorKey: newKey(),
  certificateSerial: '4f01',
  keyDigest: 'ab'.repeat(32),
  hosts: ['192.0.2.1'],
  certificateExpiresAt: '2026-06-01T00:00:00.000Z',
};
const witness: Member = {
  ...node,
  name: 'a-witness',
  role: 'witness',
  agentKey: null,
  workerKey: null,
};
const list = signMembers(authority, { version: 3, members: [node, witness] });
const trusted = { caPem: authority.certificatePem, clusterId: authority.clusterId };

it('a list the CA has signed is believed however it was carried', () => {
  const carried = JSON.parse(JSON.stringify(Object.fromEntries(Object.entries(list).toReversed())));
  const read = verifyMembers(carried, trusted);
  expect(read.members.map(({ name }) => name)).toEqual(['a-witness', 'node-1']);
  expect(read.version).toBe(3);
});

it('a list is refused with any one thing of it changed', () => {
  const stranger = { ...node, name: 'node-9', agentKey: newKey() };
  const changed: unknown[] = [
    { ...list, version: 4 },
    { ...list, members: [node] },
    { ...list, members: [...list.members, stranger] },
    ...Object.keys(node).map((key) => {
      const other = key.endsWith('Key') ? newKey() : key === 'hosts' ? ['other'] : 'other';
      return { ...list, members: [list.members[0], { ...node, [key]: other }] };
    }),
    { ...list, signature: list.signature.replace(/^..../, 'AAAA') },
    { ...list, signature: '' },
    null,
    [],
    { ...list, members: Array.from({ length: 65 }, () => node) },
  ];
  for (const value of changed) {
    expect(() => verifyMembers(value, trusted)).toThrow(/not signed|not a member list/);
  }
});

it('a list by another CA, or of another cluster, is refused', async () => {
  const other = await createAuthority({ clusterId: authority.clusterId });
  expect(() => verifyMembers(list, { caPem: other.certificatePem })).toThrow('not signed');
  expect(() => verifyMembers(list, { ...trusted, clusterId: 'bb'.repeat(10) })).toThrow(
    'another cluster',
  );
});

it('a witness with the key of an agent is no member', () => {
  const greedy = signMembers(authority, {
    version: 4,
    members: [{ ...witness, agentKey: newKey() }],
  });
  expect(() => verifyMembers(greedy, trusted)).toThrow('not a member list');
});

it('keys of other kinds than users are no members keys', () => {
  const key = newKey();
  expect(isUserPublicKey(key)).toBe(true);
  expect(isUserPublicKey(`A${key.slice(1)}`)).toBe(false);
  expect(isUserPublicKey(`${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`)).toBe(false);
  expect(isUserPublicKey(createUserSeed())).toBe(false);
});
