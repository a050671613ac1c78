import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { createCertificateRequest } from './certificate-request.ts';
import { createAuthority } from './create-authority.ts';
import { issueCertificate } from './issue-certificate.ts';
import { createKeyPem } from './signing-keys.ts';
import { unwrap, wrapFor } from './wrap-secret.ts';

const keyPem = createKeyPem();
const { certificatePem } = await issueCertificate({
  authority: await createAuthority({ clusterId: 'aa'.repeat(10) }),
  requestPem: await createCertificateRequest({ name: 'node-2', keyPem }),
  name: 'node-2',
  hosts: [],
  otherNodes: [],
  lifeMs: 60_000,
});
const secret = randomBytes(500);
const wrapped = wrapFor(certificatePem, secret, 'cluster key');

it("opens with the certificate's key and nothing else", () => {
  expect(unwrap(keyPem, wrapped, 'cluster key')).toEqual(secret);
  expect(() => unwrap(createKeyPem(), wrapped, 'cluster key')).toThrow('does not open');
  expect(() => unwrap(keyPem, wrapped, 'another use')).toThrow('does not open');
});

it('does not open with any byte changed or missing', () => {
  for (let at = 0; at < wrapped.length; at += 7) {
    const changed = Buffer.from(wrapped);
    changed[at] = changed[at]! ^ 1;
    expect(() => unwrap(keyPem, changed, 'cluster key')).toThrow('does not open');
  }
  for (const bytes of [0, 1, 50, 119, wrapped.length - 1]) {
    const cut = wrapped.subarray(0, bytes);
    expect(() => unwrap(keyPem, cut, 'cluster key')).toThrow('does not open');
  }
});
