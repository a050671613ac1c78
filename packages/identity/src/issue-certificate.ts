import { flawOfNames, namesOfNode } from './certificate-names.ts';
import { checkCertificateRequest } from './certificate-request.ts';
import { newSerial, type Authority } from './create-authority.ts';
import { IdentityError } from './identity-error.ts';
import { importKeyPem, SIGNING } from './signing-keys.ts';

export type IssuedCertificate = {
  /** Leaf first, then the CA: what a server shows, so that a joiner sees the CA it has pinned. */
  certificatePem: string;
  /** Hex, lower case. */
  serial: string;
  keyDigest: string;
  /** ISO 8601. */
  expiresAt: string;
};

/** Clocks of two nodes may differ by this much; short-lived certificates are dated back by a tenth of their life. */
const BACKDATED_MS = 5 * 60_000;

/**
 * A node's certificate: for its own names and `hosts`, as server and as client, never beyond the CA's own end.
 * `otherNodes` are names that nobody else may have a certificate for.
 * @throws IdentityError `refused`: the request is not this node's own, or a name is not for it
 */
export async function issueCertificate(about: {
  authority: Authority;
  requestPem: string;
  name: string;
  hosts: readonly string[];
  otherNodes: readonly string[];
  lifeMs: number;
  nowMs?: number;
}): Promise<IssuedCertificate> {
  const { authority, requestPem, name, hosts, otherNodes, lifeMs, nowMs = Date.now() } = about;
  const flaw = flawOfNames({ name, hosts, otherNodes });
  if (flaw) throw new IdentityError('refused', flaw);
  const request = await checkCertificateRequest(requestPem);
  if (request.name !== name) {
    throw new IdentityError('refused', `the certificate request is not for ${name}`);
  }
  const x509 = await import('./x509.ts');
  const ca = new x509.X509Certificate(authority.certificatePem);
  const { privateKey } = await importKeyPem(authority.keyPem);
  const ends = new Date(Math.min(nowMs + lifeMs, ca.notAfter.getTime()));
  const serial = newSerial();
  const flags = x509.KeyUsageFlags;
  const usage = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [name] }],
    issuer: ca.subjectName,
    notBefore: new Date(nowMs - Math.min(BACKDATED_MS, lifeMs / 10)),
    notAfter: ends,
    signingAlgorithm: SIGNING,
    publicKey: request.publicKey,
    signingKey: privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(flags.digitalSignature | flags.keyAgreement, true),
      new x509.ExtendedKeyUsageExtension([usage.serverAuth, usage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(
        namesOfNode({ name, clusterId: authority.clusterId, hosts }),
      ),
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey),
    ],
  });
  return {
    certificatePem: `${certificate.toString('pem')}\n${authority.certificatePem}`,
    serial,
    keyDigest: request.keyDigest,
    expiresAt: ends.toISOString(),
  };
}
