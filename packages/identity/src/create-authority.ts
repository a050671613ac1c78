import { randomBytes } from 'node:crypto';
import { createKeyPem, importKeyPem, SIGNING } from './signing-keys.ts';

/** The cluster's CA. The key signs certificates and the member list; it is never stored in the clear. */
export type Authority = { clusterId: string; certificatePem: string; keyPem: string };

const YEARS = 10;
const BACKDATED_MS = 5 * 60_000;

/** 80 random bits as 20 hex digits: a label of the nodes' inner names. */
export function createClusterId(): string {
  return randomBytes(10).toString('hex');
}

/** A new CA for one cluster: P-256, self-signed, 10 years, for nodes' certificates only. */
export async function createAuthority(about: {
  clusterId: string;
  nowMs?: number;
}): Promise<Authority> {
  const { clusterId, nowMs = Date.now() } = about;
  const x509 = await import('./x509.ts');
  const keyPem = createKeyPem();
  const keys = await importKeyPem(keyPem);
  const ends = new Date(nowMs);
  ends.setUTCFullYear(ends.getUTCFullYear() + YEARS);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ O: ['Countersign'] }, { CN: [`Countersign ${clusterId}`] }],
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: ends,
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { clusterId, certificatePem: `${certificate.toString('pem')}\n`, keyPem };
}

/** 127 random bits, positive and of the same length always (RFC 5280 section 4.1.2.2). */
export function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}
