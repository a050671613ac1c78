import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasOpenssl, makeTestCertificate } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkPair } from './check-pair.ts';
import { INTERMEDIATE } from './tls-terms.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-pair-'));
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const openssl = (...args: string[]) =>
  execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
const selfSigned = (name: string, ...args: string[]) =>
  openssl(
    ...['req', '-x509', '-nodes', '-subj', '/CN=x', '-keyout', `${name}.key`],
    ...['-out', `${name}.pem`, ...args],
  );
const p256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

describe.runIf(hasOpenssl)('a certificate and a key', () => {
  beforeAll(async () => {
    for (const [name, days] of [
      ['good', 2],
      ['past', -1],
    ] as const) {
      mkdirSync(join(folder, name));
      await makeTestCertificate(join(folder, name), { days });
    }
    selfSigned('client', ...p256, '-addext', 'extendedKeyUsage=clientAuth');
    selfSigned('short', '-newkey', 'rsa:1024');
    openssl(
      ...['pkcs8', '-topk8', '-in', 'client.key', '-out', 'locked.key'],
      ...['-passout', 'pass:secret'],
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const check = (certificate: string, key: string) =>
    checkPair({ certificatePem: certificate, keyPem: key }, INTERMEDIATE);

  it('that belong together are taken, expired or not', () => {
    const pairs = ['good', 'past'].map((name) =>
      check(read(`${name}/server.pem`), read(`${name}/server.key`)),
    );
    const [good, past] = pairs.map(({ validToDate }) => validToDate.getTime() > Date.now());
    expect([good, past]).toEqual([true, false]);
  });

  it.each<[string, () => unknown, string]>([
    ['of two servers', () => check(read('good/server.pem'), read('past/server.key')), 'belong'],
    [
      'with the authority first',
      () => check(read('good/ca.pem') + read('good/server.pem'), read('good/server.key')),
      'the key does not belong to the first certificate',
    ],
    ['for clients alone', () => check(read('client.pem'), read('client.key')), 'not one for serv'],
    ['with a passphrase', () => check(read('client.pem'), read('locked.key')), 'has a passphrase'],
    ['of 1,024 bits', () => check(read('short.pem'), read('short.key')), 'OpenSSL does not take'],
    ['one of which is cut off', () => check('-----BEGIN', read('good/server.key')), 'no certific'],
    ['one of which is empty', () => check(read('good/server.pem'), ''), 'no private key in PEM'],
  ])('%s are refused in a line', (_, attempt, why) => {
    expect(attempt).toThrow(why);
    expect(attempt).not.toThrow('\n');
  });
});
