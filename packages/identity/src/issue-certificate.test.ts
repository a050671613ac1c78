import { X509Certificate } from 'node:crypto';
import { connect, createServer } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { createCertificateRequest, checkCertificateRequest } from './certificate-request.ts';
import { createAuthority, createClusterId } from './create-authority.ts';
import { issueCertificate } from './issue-certificate.ts';
import { isDueForRenewal, readNodeCertificate } from './read-certificates.ts';
import { createKeyPem } from './signing-keys.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-03-01T12:00:00Z');
const authority = await createAuthority({ clusterId: createClusterId(), nowMs: NOW_MS });
const keyPem = createKeyPem();
const requestPem = await createCertificateRequest({ name: 'node-1', keyPem });
const wanted = {
  authority,
  requestPem,
  name: 'node-1',
  hosts: ['mfa.example.com', '192.0.2.1', '2001:db8::1'],
  otherNodes: ['node-2'],
  lifeMs: 90 * DAY_MS,
  nowMs: NOW_MS,
};

it('a certificate is for the node, its inner name and its hosts, for ninety days', async () => {
  const issued = await issueCertificate(wanted);

  const certificate = new X509Certificate(issued.certificatePem);
  expect(certificate.subject).toBe('CN=node-1');
  expect(certificate.subjectAltName?.split(', ').toSorted()).toEqual([
    `DNS:mfa.example.com`,
    'DNS:node-1',
    `DNS:node-1.${authority.clusterId}.countersign`,
    'IP Address:192.0.2.1',
    'IP Address:2001:DB8:0:0:0:0:0:1',
  ]);
  // Server and client authentication (RFC 5280 section 4.2.1.12).
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  expect(certificate.ca).toBe(false);
  expect(Date.parse(certificate.validTo)).toBe(NOW_MS + 90 * DAY_MS);
  const read = readNodeCertificate(issued.certificatePem, {
    caPem: authority.certificatePem,
    keyPem,
  });
  expect(read).toMatchObject({
    name: 'node-1',
    serial: issued.serial,
    keyDigest: issued.keyDigest,
  });
});

it('two nodes of one cluster check each other over mutual TLS', async () => {
  const nowMs = Date.now();
  const ca = await createAuthority({ clusterId: 'ab'.repeat(10) });
  const issue = async (name: string) => {
    const key = createKeyPem();
    const request = await createCertificateRequest({ name, keyPem: key });
    const about = { ...wanted, authority: ca, requestPem: request, name, otherNodes: [], nowMs };
    const { certificatePem } = await issueCertificate({ ...about, hosts: ['127.0.0.1'] });
    return { key, cert: certificatePem, ca: ca.certificatePem };
  };
  const [one, two] = await Promise.all([issue('node-1'), issue('node-2')]);
  const server = createServer({ ...one, requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.end(String(socket.getPeerCertificate().subject.CN));
  }).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const servername = `node-1.${ca.clusterId}.countersign`;
    const client = connect({ host: '127.0.0.1', port, servername, ...two });
    const [seen] = (await once(client, 'data')) as [Buffer];
    expect(seen.toString()).toBe('node-2');
    client.destroy();
  } finally {
    server.close();
  }
});

it('a certificate never outlives the CA', async () => {
  const issued = await issueCertificate({ ...wanted, lifeMs: 20 * 365 * DAY_MS });
  const { validTo } = new X509Certificate(authority.certificatePem);
  expect(Date.parse(issued.expiresAt)).toBe(Date.parse(validTo));
});

it.each([
  ['for another node', { name: 'node-3' }, 'is not for node-3'],
  ['for the name of another node', { hosts: ['node-2'] }, "another node's name"],
  ['for an inner name', { hosts: [`node-2.${authority.clusterId}.countersign`] }, "cluster's own"],
  ['for a wildcard', { hosts: ['*.example.com'] }, 'neither a host name'],
  ['for an address with too few parts', { hosts: ['192.0.2'] }, 'neither a host name'],
  ['for a name with a line break', { hosts: ['a.example\ndns:b'] }, 'neither a host name'],
  ['for too many hosts', { hosts: Array.from({ length: 17 }, (_, i) => `h${i}.x`) }, 'more than'],
])('no certificate is issued %s', async (_, change, why) => {
  await expect(issueCertificate({ ...wanted, ...change })).rejects.toMatchObject({
    code: 'refused',
    message: expect.stringContaining(why),
  });
});

it('a request whose key or signature was changed on its way is refused', async () => {
  const der = Buffer.from(requestPem.replace(/-----.*-----|\s/g, ''), 'base64');
  const own = await checkCertificateRequest(requestPem);
  const pem = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  let accepted = 0;
  for (let at = 0; at < der.length; at += 1) {
    const forged = Buffer.from(der);
    forged[at] = forged[at]! ^ 1;
    const checked = await checkCertificateRequest(pem(forged)).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'refused' });
      return null;
    });
    // What is not covered by the signature (its own encoding) may differ: never the name or the key.
    if (checked === null) continue;
    accepted += 1;
    expect(checked).toMatchObject({ name: own.name, keyDigest: own.keyDigest });
  }
  expect(accepted).toBeLessThan(5);
});

it.each([
  ['a certificate', authority.certificatePem],
  ['nothing', ''],
  ['more than a request', requestPem + requestPem],
  ['megabytes', `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(2_000_000)}`],
])('%s is not taken for a request', async (_, text) => {
  await expect(checkCertificateRequest(text)).rejects.toMatchObject({ code: 'refused' });
});

it('a certificate by another CA is not believed, nor one for another key', async () => {
  const { certificatePem } = await issueCertificate(wanted);
  const other = await createAuthority({ clusterId: authority.clusterId, nowMs: NOW_MS });

  expect(() => readNodeCertificate(certificatePem, { caPem: other.certificatePem })).toThrow(
    "not one by the cluster's CA",
  );
  const trusted = { caPem: authority.certificatePem, keyPem: createKeyPem() };
  expect(() => readNodeCertificate(certificatePem, trusted)).toThrow('another key');
});

it('a certificate is due for renewal when less than a third of its life is left', () => {
  const certificate = { startsAtMs: 0, endsAtMs: 90 * DAY_MS };
  expect(isDueForRenewal(certificate, 59 * DAY_MS)).toBe(false);
  expect(isDueForRenewal(certificate, 61 * DAY_MS)).toBe(true);
  expect(isDueForRenewal(certificate, 100 * DAY_MS)).toBe(true);
});
