import { createHash, webcrypto } from 'node:crypto';
import { IdentityError } from './identity-error.ts';
import { importKeyPem, SIGNING } from './signing-keys.ts';

/** A request of ours has 300 bytes. */
export const MAX_REQUEST_CHARS = 2048;

export type CheckedRequest = {
  /** The common name it asks for. */
  name: string;
  publicKey: webcrypto.CryptoKey;
  /** SHA-256 of the public key (SPKI, DER), hex: what nats-server calls a pinned certificate. */
  keyDigest: string;
};

/** A request (PKCS #10, PEM) for a certificate of this node, signed by the key that stays here. */
export async function createCertificateRequest(about: {
  name: string;
  keyPem: string;
}): Promise<string> {
  const x509 = await import('./x509.ts');
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [about.name] }],
    keys: await importKeyPem(about.keyPem),
    signingAlgorithm: SIGNING,
  });
  return `${request.toString('pem')}\n`;
}

/**
 * Reads a request from outside. Its only use is to say whose key this is: names for the certificate come from elsewhere.
 * @throws IdentityError `refused`: not one request, another kind of key, or not signed by its own key
 */
export async function checkCertificateRequest(requestPem: string): Promise<CheckedRequest> {
  if (requestPem.length > MAX_REQUEST_CHARS) throw refused('is too long');
  const x509 = await import('./x509.ts');
  let request: InstanceType<typeof x509.Pkcs10CertificateRequest>;
  let publicKey: webcrypto.CryptoKey;
  let isSigned: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(derOf(requestPem));
    const { subtle } = webcrypto;
    const raw = request.publicKey.rawData;
    publicKey = await subtle.importKey('spki', raw, SIGNING, true, ['verify']);
    isSigned = await request.verify();
  } catch (cause) {
    throw refused('is none, or not for a P-256 key', cause);
  }
  if (!isSigned) throw refused('is not signed by its own key');
  const names = request.subjectName.getField('CN');
  if (names.length !== 1) throw refused('does not name one node');
  const keyDigest = createHash('sha256')
    .update(Buffer.from(request.publicKey.rawData))
    .digest('hex');
  return { name: names[0]!, publicKey, keyDigest };
}

function derOf(requestPem: string): Buffer<ArrayBuffer> {
  const found =
    /^\s*-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*$/.exec(
      requestPem,
    );
  if (!found) throw refused('is not PEM');
  return Buffer.from(found[1]!, 'base64');
}

function refused(why: string, cause?: unknown): IdentityError {
  return new IdentityError('refused', `the certificate request ${why}`, { cause });
}
