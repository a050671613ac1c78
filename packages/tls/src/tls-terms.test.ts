import { describe, expect, it } from 'vitest';
import { flawOfCiphers, INTERMEDIATE, MODERN } from './tls-terms.ts';

describe('terms of TLS', () => {
  it.each([
    ['modern', MODERN],
    ['intermediate', INTERMEDIATE],
  ])('%s takes only ciphers that this OpenSSL knows, all forward secret', (_, terms) => {
    expect(flawOfCiphers(terms)).toBeNull();
  });

  it.each([
    ['TLS_AES_512_GCM', 'there is no cipher TLS_AES_512_GCM here'],
    ['tls_aes_128_gcm_sha256', 'there is no cipher tls_aes_128_gcm_sha256 here'],
    ['HIGH', 'there is no cipher HIGH here'],
    ['AES128-GCM-SHA256', 'AES128-GCM-SHA256 is too weak: take ECDHE-… or TLS_…'],
    ['ECDHE-PSK-AES128-CBC-SHA', 'is too weak'],
    ['DHE-RSA-AES128-GCM-SHA256', 'is too weak'],
  ])("refuse %s in a list of one's own", (cipher, flaw) => {
    const ciphers = ['ECDHE-RSA-AES128-SHA256', cipher];
    expect(flawOfCiphers({ minVersion: 'TLSv1.2', ciphers })).toContain(flaw);
  });

  it('refuse TLS 1.3 alone without a cipher of it', () => {
    const ciphers = ['ECDHE-ECDSA-AES128-GCM-SHA256'];
    expect(flawOfCiphers({ minVersion: 'TLSv1.2', ciphers })).toBeNull();
    expect(flawOfCiphers({ minVersion: 'TLSv1.3', ciphers })).toContain('none of them');
  });
});
