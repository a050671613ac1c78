import { constants } from 'node:crypto';
import { getCiphers, type TlsOptions } from 'node:tls';
import type { CertificatePair } from './check-pair.ts';

export const TLS_VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

/** What a listener takes; the names of ciphers are OpenSSL's. */
export type TlsTerms = { minVersion: (typeof TLS_VERSIONS)[number]; ciphers: string[] };

/** TLS 1.3 alone: for clients of the last years. */
export const MODERN: TlsTerms = {
  minVersion: 'TLSv1.3',
  ciphers: ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
};

/**
 * TLS 1.2 too, with forward secrecy and authenticated encryption alone. Names and lists of both are those of Mozilla's
 * "Server Side TLS", but without the finite-field Diffie-Hellman that no client of ours needs.
 */
export const INTERMEDIATE: TlsTerms = {
  minVersion: 'TLSv1.2',
  ciphers: [
    ...MODERN.ciphers,
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ],
};

// A client that knows no hybrid of ML-KEM takes the next.
const GROUPS = 'X25519MLKEM768:X25519:prime256v1:secp384r1';
const FORWARD_SECRET = /^(TLS_|ECDHE-(ECDSA|RSA)-(AES|CHACHA20))/;

/** Why these are not taken as a list of one's own, or null: each must be known here and keep past traffic secret. */
export function flawOfCiphers({ minVersion, ciphers }: TlsTerms): string | null {
  const known = new Set(getCiphers().map((name) => name.toUpperCase()));
  for (const name of ciphers) {
    if (!known.has(name)) return `there is no cipher ${name} here`;
    if (!FORWARD_SECRET.test(name)) return `${name} is too weak: take ECDHE-… or TLS_…`;
  }
  if (minVersion === 'TLSv1.3' && !ciphers.some((name) => name.startsWith('TLS_'))) {
    return 'none of them is of TLS 1.3 (TLS_…)';
  }
  return null;
}

/** Options for a TLS server, and for its `setSecureContext`. */
export function listenerOptions(terms: TlsTerms, pair: CertificatePair): TlsOptions {
  // Of a version for which none is listed OpenSSL would take those it knows.
  const isOf13 = (name: string) => name.startsWith('TLS_');
  const { ciphers } = terms;
  return {
    cert: pair.certificatePem,
    key: pair.keyPem,
    minVersion: ciphers.every(isOf13) ? 'TLSv1.3' : terms.minVersion,
    maxVersion: ciphers.some(isOf13) ? 'TLSv1.3' : 'TLSv1.2',
    ciphers: ciphers.join(':'),
    ecdhCurve: GROUPS,
    // All of them are good: the client knows best which it computes fast.
    honorCipherOrder: false,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}
