import { hasSlapd, startTestSlapd } from '@countersign/testing';
import type { TestSlapd } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSocket, parseServer } from './open-socket.ts';
import { startFaultyServer } from './testing/faulty-servers.ts';
import type { DirectoryConfig } from './types.ts';

type Certificates = DirectoryConfig['certificates'];
const NONE: Certificates = { authorities: null, pinned: [], serverName: null };

const openAt = async (
  url: string,
  certificates: Certificates,
  startTls = false,
  connectMs = 10_000,
) => {
  const trust = { certificates, startTls, connectMs };
  const socket = await openSocket(parseServer(url), trust);
  socket.destroy();
};

describe.skipIf(!hasSlapd)('a server of a directory', () => {
  let slapd: TestSlapd;
  let expired: TestSlapd;
  beforeAll(async () => {
    slapd = await startTestSlapd({ people: 1 });
    expired = await startTestSlapd({ people: 1, certificate: 'expired' });
  });
  afterAll(async () => {
    await slapd?.stop();
    await expired?.stop();
  });

  const trusting = (change: Partial<Certificates> = {}): Certificates => ({
    ...NONE,
    authorities: slapd.authority,
    ...change,
  });
  const expectRefused = async (opened: Promise<void>, why: RegExp) => {
    await expect(opened).rejects.toMatchObject({
      fault: 'certificate',
      message: expect.stringMatching(why) as string,
    });
  };
  const ways: [string, () => string, boolean][] = [
    ['LDAPS', () => slapd.ldapsUrl, false],
    ['StartTLS', () => slapd.ldapUrl, true],
  ];

  describe.each(ways)('by %s', (_way, url, startTls) => {
    it('is trusted for its authority, or for its pin alone', async () => {
      await openAt(url(), trusting(), startTls);
      await openAt(url(), trusting({ serverName: 'localhost' }), startTls);
      await openAt(url(), { ...NONE, pinned: ['00'.repeat(32), slapd.sha256] }, startTls);
    });

    it('is refused for an authority that is not known', async () => {
      await expectRefused(openAt(url(), NONE, startTls), /authority that is not trusted/);
      const other = trusting({ authorities: expired.authority });
      await expectRefused(openAt(url(), other, startTls), /not trusted|not by the authority/);
    });

    it('is refused for another name', async () => {
      const other = trusting({ serverName: 'dc1.example.test' });
      await expectRefused(openAt(url(), other, startTls), /dc1\.example\.test/);
    });

    it('is refused for another pin, whoever signed its certificate', async () => {
      const other = trusting({ pinned: ['00'.repeat(32)] });
      await expectRefused(openAt(url(), other, startTls), /none of the pinned ones/);
    });
  });

  it('is refused with an expired certificate, pinned or not', async () => {
    const authorities = expired.authority;
    await expectRefused(openAt(expired.ldapsUrl, { ...NONE, authorities }), /expired/);
    const pinned = [expired.sha256];
    await expectRefused(openAt(expired.ldapsUrl, { ...NONE, pinned }), /expired/);
    await expectRefused(openAt(expired.ldapUrl, { ...NONE, pinned }, true), /expired/);
  });

  it('is not asked in the clear, unless it is this machine', async () => {
    await openAt(slapd.ldapUrl, NONE);
    await expectRefused(openAt('ldap://192.0.2.1', NONE), /in the clear/);
    await expectRefused(openAt('ldap://localhost.example.com', NONE), /in the clear/);
    await expectRefused(openAt('ldap://127.example.com', NONE), /in the clear/);
  });
});

const START_TLS_ANSWER = '300c02010178070a010004000400';

describe('before TLS nothing counts that came in the clear', () => {
  it.each([
    ['more than its answer', `${START_TLS_ANSWER}300c02010261070a010004000400`, /more than its/],
    ['the beginning of another message', `${START_TLS_ANSWER}3020020102`, /more than its/],
    ['a refusal', '300c02010178070a013404000400', /refused StartTLS/],
    ['an answer to something else', '300c02010278070a010004000400', /refused StartTLS/],
    ['an answer of another kind', '300c02010161070a010004000400', /refused StartTLS/],
    ['garbage', '48545450', /not LDAP/],
  ])('a server that sends %s is left', async (_what, hex, why) => {
    await using server = await startFaultyServer((socket) =>
      socket.once('data', () => socket.write(Buffer.from(hex, 'hex'))),
    );
    await expect(openAt(server.url, NONE, true)).rejects.toThrow(why);
  });

  it('a server that says nothing is waited for until the deadline', async () => {
    await using server = await startFaultyServer(() => undefined);
    const startedAt = performance.now();
    await expect(openAt(server.url, NONE, true, 500)).rejects.toThrow(/within 500 ms/);
    const ldaps = openAt(server.url.replace('ldap:', 'ldaps:'), NONE, false, 500);
    await expect(ldaps).rejects.toThrow(/within 500 ms/);
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  });
});

it.each(['http://a', 'ldap://', 'ldap://a:0', 'ldap://a:65536', 'ldap://a/b', 'ldap://u@a', 'a'])(
  '%s is no address of a directory',
  (url) => {
    expect(() => parseServer(url)).toThrow(/no address/);
  },
);
