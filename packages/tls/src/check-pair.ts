import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { TlsError } from './tls-error.ts';
import { listenerOptions, type TlsTerms } from './tls-terms.ts';

/** PEM: the server's own certificate first, then those between it and the authority. */
export type CertificatePair = { certificatePem: string; keyPem: string };

const SERVER_AUTHENTICATION = '1.3.6.1.5.5.7.3.1';

/**
 * Returns the server's certificate, also when it does not count now: whether it is better than none its caller knows.
 * @throws TlsError in a line why these cannot be served
 */
export function checkPair(pair: CertificatePair, terms: TlsTerms): X509Certificate {
  const certificate = readCertificate(pair.certificatePem);
  if (!certificate.checkPrivateKey(readKey(pair.keyPem))) {
    throw new TlsError('the key does not belong to the first certificate');
  }
  // Where none is listed it is good for everything.
  const uses = certificate.keyUsage as string[] | undefined;
  if (uses && !uses.includes(SERVER_AUTHENTICATION)) {
    throw new TlsError('the certificate is not one for servers (extended key usage)');
  }
  try {
    createSecureContext(listenerOptions(terms, pair));
  } catch (cause) {
    throw new TlsError(`OpenSSL does not take it: ${(cause as Error).message}`, { cause });
  }
  return certificate;
}

/** The first of these. Throws TlsError where there is none. */
export function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new TlsError('no certificate in PEM', { cause });
  }
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    const isLocked = /ENCRYPTED/.test(pem);
    const why = isLocked ? 'the key has a passphrase: store it without' : 'no private key in PEM';
    throw new TlsError(why, { cause });
  }
}
