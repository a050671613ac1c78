import type { Server, TlsOptions } from 'node:tls';
import {
  boundHandshakes,
  HANDSHAKE_TIMEOUT_MS,
  listenerOptions,
  type CertificatePair,
  type TlsTerms,
} from '@countersign/tls';
import type { ApiServer } from './api-server.ts';

export type ApiTls = {
  terms: TlsTerms;
  pair: CertificatePair;
  handshakeTimeoutMs?: number;
  /** At once, of the connections that may be open. */
  maxHandshakes?: number;
};

const MAX_HANDSHAKES = 512;

export function tlsOptions({ terms, pair, handshakeTimeoutMs }: ApiTls): TlsOptions {
  const handshakeTimeout = handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  return { ...listenerOptions(terms, pair), handshakeTimeout };
}

export function boundTls(api: ApiServer, { maxHandshakes }: ApiTls): void {
  boundHandshakes(tlsServerOf(api), maxHandshakes ?? MAX_HANDSHAKES);
}

/** Shows another certificate to whoever connects from now on; connections that stand go on as they are. */
export function serveCertificate(api: ApiServer, { terms, pair }: ApiTls): void {
  tlsServerOf(api).setSecureContext(listenerOptions(terms, pair));
}

function tlsServerOf(api: ApiServer): Server {
  return api.server as unknown as Server;
}
