import {
  createHash,
  createPrivateKey,
  createPublicKey,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { IdentityError } from './identity-error.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----/g;

/** Each certificate of a PEM text, in its order. */
export function splitCertificates(pem: string): string[] {
  return pem.match(CERTIFICATE) ?? [];
}

/** SHA-256 of a certificate (DER), hex: what a join token pins. */
export function fingerprintOf(certificatePem: string): string {
  return createHash('sha256').update(parse(certificatePem).raw).digest('hex');
}

export type NodeCertificate = {
  name: string;
  serial: string;
  keyDigest: string;
  startsAtMs: number;
  endsAtMs: number;
};

/**
 * The first certificate of `certificatePem`, issued by one of the cluster's CAs.
 * @throws IdentityError `malformed`, or `refused` when no CA given has issued it, or it is not for a key given
 */
export function readNodeCertificate(
  certificatePem: string,
  trusted: { caPem: string; keyPem?: string },
): NodeCertificate {
  const certificate = parse(certificatePem);
  const isIssued = splitCertificates(trusted.caPem).some((pem) => {
    const ca = parse(pem);
    return ca.ca && certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
  });
  if (!isIssued || certificate.ca) {
    throw new IdentityError('refused', "the certificate is not one by the cluster's CA");
  }
  const isOwn =
    trusted.keyPem === undefined || publicKeyOfPem(trusted.keyPem).equals(certificate.publicKey);
  if (!isOwn) throw new IdentityError('refused', 'the certificate is for another key');
  const [, name = ''] = /^CN=(.*)$/m.exec(certificate.subject) ?? [];
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return {
    name,
    serial: certificate.serialNumber.toLowerCase(),
    keyDigest: createHash('sha256').update(spki).digest('hex'),
    startsAtMs: Date.parse(certificate.validFrom),
    endsAtMs: Date.parse(certificate.validTo),
  };
}

/** Less than a third of its life is left. */
export function isDueForRenewal(
  certificate: Pick<NodeCertificate, 'startsAtMs' | 'endsAtMs'>,
  nowMs: number,
): boolean {
  const { startsAtMs, endsAtMs } = certificate;
  return endsAtMs - nowMs < (endsAtMs - startsAtMs) / 3;
}

function publicKeyOfPem(keyPem: string): KeyObject {
  try {
    return createPublicKey(createPrivateKey(keyPem));
  } catch (cause) {
    throw new IdentityError('malformed', 'not a private key', { cause });
  }
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new IdentityError('malformed', 'not a certificate', { cause });
  }
}
