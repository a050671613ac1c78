export { boundHandshakes, HANDSHAKE_TIMEOUT_MS } from './bound-handshakes.ts';
export type { CertificateNotice } from './certificate-notice.ts';
export { checkPair, readCertificate, type CertificatePair } from './check-pair.ts';
export { describeExpiry, type CertificateKind } from './describe-expiry.ts';
export {
  flawOfCiphers,
  INTERMEDIATE,
  listenerOptions,
  MODERN,
  TLS_VERSIONS,
  type TlsTerms,
} from './tls-terms.ts';
export { TlsError } from './tls-error.ts';
