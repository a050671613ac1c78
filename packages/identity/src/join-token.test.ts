import { randomBytes, randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import {
  formatJoinToken,
  isSignedByToken,
  parseJoinToken,
  signJoinRequest,
  tokenPublicKey,
  type JoinRequest,
} from './join-token.ts';

const token = {
  clusterId: 'c0'.repeat(10),
  caFingerprint: 'fa'.repeat(32),
  tokenId: randomUUID(),
  secret: randomBytes(32),
};
const request: JoinRequest = {
  clusterId: token.clusterId,
  tokenId: token.tokenId,
  role: 'node',
  name: 'node-2',
  hosts: ['mfa.example.com', '192.0.2.2'],
  certificateRequest: 'a request',
  agentKey: 'UA',
  workerKey: 'UB',
  supervisorKey: 'UC',
};

it('a token comes back as it was made, also with white space around it', () => {
  const text = formatJoinToken(token);
  expect(text).toMatch(/^cs_join_[\w-]{127}$/);
  expect(parseJoinToken(`  ${text}\n`)).toEqual(token);
});

it('a token with any one character wrong or missing is refused without showing it', () => {
  const text = formatJoinToken(token);
  for (let at = 0; at < text.length; at += 1) {
    const other = text[at] === 'A' ? 'B' : 'A';
    const wrong = text.slice(0, at) + other + text.slice(at + 1);
    expect(() => parseJoinToken(wrong)).toThrow('not a join token');
    expect(() => parseJoinToken(text.slice(0, at) + text.slice(at + 1))).toThrow(
      /^this is not a join token, or not the whole of one$/,
    );
  }
});

it('only the holder of the token can sign, and only for what was asked', () => {
  const publicKey = tokenPublicKey(token.secret);
  const signature = signJoinRequest(request, token.secret);

  expect(isSignedByToken(request, signature, publicKey)).toBe(true);
  expect(isSignedByToken(request, signJoinRequest(request, randomBytes(32)), publicKey)).toBe(
    false,
  );
  const changes: Partial<JoinRequest>[] = [
    { clusterId: 'c1'.repeat(10) },
    { tokenId: randomUUID() },
    { role: 'witness' },
    { name: 'node-3' },
    { hosts: ['mfa.example.com'] },
    { certificateRequest: "somebody else's" },
    { agentKey: 'UX' },
    { workerKey: null },
    { supervisorKey: 'UX' },
  ];
  for (const change of changes) {
    expect(isSignedByToken({ ...request, ...change }, signature, publicKey)).toBe(false);
  }
  expect(isSignedByToken(request, 'rubbish', publicKey)).toBe(false);
  expect(isSignedByToken(request, signature, 'rubbish')).toBe(false);
});
