import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { TokenFileError, readPskc } from './index.ts';
import type { ImportedToken } from './index.ts';
import { writePskc } from './testing/write-pskc.ts';
import type { Encryption, WrittenKey } from './testing/write-pskc.ts';

const SECRET = Buffer.from('12345678901234567890');

describe('the figures of RFC 6030', () => {
  const hotpToken = { type: 'hotp', algorithm: 'SHA1', digits: 8, initialCounter: 0 };

  it('figure 2, a secret and nothing else, is read', async () => {
    const { tokens, refused } = await readPskc(`<?xml version="1.0" encoding="UTF-8"?>
      <KeyContainer Version="1.0" Id="exampleID1" xmlns="urn:ietf:params:xml:ns:keyprov:pskc">
        <KeyPackage>
          <Key Id="12345678" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp">
            <Issuer>Issuer-A</Issuer>
            <Data><Secret><PlainValue>MTIzNA==</PlainValue></Secret></Data>
          </Key>
        </KeyPackage>
      </KeyContainer>`);
    expect(tokens).toEqual([]);
    expect(refused.map(({ at, error }) => [at, error])).toEqual([
      [1, 'the secret is of no use: a secret has at least 128 bits'],
    ]);
  });

  it('figure 5, a token and a key for its PIN, gives the token', async () => {
    const pin = '<PINPolicy MinLength="4" MaxLength="4" PINKeyId="2" PINUsageMode="Local"/>';
    const { tokens, refused } = await readPskc(
      writePskc([
        {
          secret: SECRET,
          serial: '987654321',
          parameters: '<ResponseFormat Length="8" Encoding="DECIMAL"/>',
          data: '<Counter><PlainValue>0</PlainValue></Counter>',
          more: `<Policy>${pin}<KeyUsage>OTP</KeyUsage></Policy>`,
        },
        { secret: Buffer.from('1234'), algorithm: 'pin', serial: '987654321' },
      ]),
    );
    expect(tokens).toEqual([
      {
        at: 1,
        token: { ...hotpToken, serial: '987654321', manufacturer: 'Contoso', secret: SECRET },
      },
    ]);
    expect(refused.map(({ error }) => error)).toEqual(['its algorithm is neither HOTP nor TOTP']);
  });

  it('figure 6, AES-128-CBC under a pre-shared key, is opened', async () => {
    const preSharedKey = Buffer.from('12345678901234567890123456789012', 'hex');
    const { tokens } = await readPskc(FIGURE_6, { preSharedKey });
    expect(tokens).toEqual([
      {
        at: 1,
        token: { ...hotpToken, manufacturer: 'Manufacturer', serial: '987654321', secret: SECRET },
      },
    ]);
  });

  it('figure 7, a key made of a password, is opened', async () => {
    const { tokens } = await readPskc(FIGURE_7, { password: 'qwerty' });
    expect(tokens.map(({ token }) => token)).toEqual([
      { ...hotpToken, manufacturer: 'TokenVendorAcme', serial: '987654321', secret: SECRET },
    ]);
  });

  it('figure 10, four tokens with one secret, gives none', async () => {
    const serials = ['654321', '123456', '9999999', '9999999'];
    const { tokens, refused } = await readPskc(
      writePskc(serials.map((serial) => ({ secret: SECRET, serial }))),
    );
    expect(tokens).toEqual([]);
    expect(refused.map(({ error }) => error)).toEqual([
      'has the same secret as key 2',
      'has the same secret as key 1',
      'has the same serial number as key 4',
      'has the same serial number as key 3',
    ]);
  });
});

describe('a key of a PSKC file', () => {
  it('has all that a token needs', async () => {
    const token = await readOne({
      secret: SECRET,
      algorithm: 'totp',
      serial: '1&#45;2',
      device: '<Model>M&#252;ller &amp; Co</Model><UserId>DC=example,DC=net</UserId>',
      parameters:
        '<Suite>HMAC-SHA256</Suite><ResponseFormat Length="8" Encoding="DECIMAL" CheckDigits="false"/>',
      data: value('TimeInterval', '60') + value('Time', '0') + value('TimeDrift', '-4'),
      more: `<UserId>UID=jsmith,DC=example,DC=net</UserId><Policy xmlns="urn:ietf:params:xml:ns:keyprov:pskc"><StartDate>2026-01-01T00:00:00Z</StartDate>
        <ExpiryDate>2036-01-01T01:00:00+01:00</ExpiryDate></Policy>`,
    });
    expect(token).toEqual({
      type: 'totp',
      username: 'jsmith',
      serial: '1-2',
      manufacturer: 'Contoso',
      model: 'Müller & Co',
      secret: SECRET,
      algorithm: 'SHA256',
      digits: 8,
      periodSeconds: 60,
      driftSteps: -4,
      expiresAt: '2036-01-01T00:00:00.000Z',
    });
  });

  it.each([
    ['UID=jsmith,DC=example', 'jsmith'],
    ['cn = Jane Smith + uid=x', 'Jane Smith'],
    ['jsmith@example.com', 'jsmith@example.com'],
    ['DC=example,DC=net', undefined],
  ])('of the user %s is for %s', async (userId, username) => {
    const token = await readOne({ secret: SECRET, more: `<UserId>${userId}</UserId>` });
    expect(token).toHaveProperty('type', 'hotp');
    expect((token as ImportedToken).username).toBe(username);
  });

  it.each<[string, Partial<WrittenKey>, string]>([
    ['of OCRA', { algorithm: 'ocra' }, 'its algorithm is neither HOTP nor TOTP'],
    [
      'with MD5',
      { parameters: '<Suite>HMAC-MD5</Suite>' },
      'its suite is not HMAC with SHA1, SHA256 or SHA512',
    ],
    [
      'with 5 digits',
      { parameters: '<ResponseFormat Length="5"/>' },
      'its codes have not 6, 7 or 8 digits',
    ],
    [
      'with letters',
      { parameters: '<ResponseFormat Length="6" Encoding="ALPHANUMERIC"/>' },
      'its codes are not plain decimal digits',
    ],
    [
      'with a check digit',
      { parameters: '<ResponseFormat Length="6" CheckDigits="true"/>' },
      'its codes are not plain decimal digits',
    ],
    [
      'every 15 s',
      { algorithm: 'totp', data: value('TimeInterval', '15') },
      'its time interval is not 30 or 60 seconds',
    ],
    [
      'that drifts far',
      { algorithm: 'totp', data: value('TimeDrift', '101') },
      'its time drift is beyond 100 steps',
    ],
    [
      'with a counter below 0',
      { data: value('Counter', '-1') },
      'its counter is not from 0 to 2^48',
    ],
    [
      'with an encrypted counter',
      { data: '<Counter><EncryptedValue/></Counter>' },
      'its counter is not from 0 to 2^48',
    ],
    [
      'with an endless counter',
      { data: value('Counter', '9'.repeat(400)) },
      'its counter is not from 0 to 2^48',
    ],
    [
      'for signatures',
      { more: '<Policy><KeyUsage>Sign</KeyUsage></Policy>' },
      'it is not meant for one-time codes',
    ],
    [
      'with a PIN before its codes',
      { more: '<Policy><PINPolicy PINUsageMode="Prepend"/></Policy>' },
      'its codes need a PIN of its own',
    ],
    [
      'with a policy of its own',
      { more: '<Policy><NumberOfTransactions>1</NumberOfTransactions></Policy>' },
      'it has a policy that is not supported',
    ],
    [
      'that ends in no time zone',
      { more: '<Policy><ExpiryDate>2036-01-01T00:00:00</ExpiryDate></Policy>' },
      'its expiry date is not a moment in time',
    ],
    [
      'that ends some day',
      { more: '<Policy><ExpiryDate>soon</ExpiryDate></Policy>' },
      'its expiry date is not a moment in time',
    ],
    [
      'of 80 bits',
      { secret: Buffer.alloc(10, 1) },
      'the secret is of no use: a secret has at least 128 bits',
    ],
    [
      'with a bidi serial number',
      { serial: '1&#x202E;2' },
      'the serial number has control or invisible characters',
    ],
    [
      'with a long user name',
      { more: `<UserId>${'a'.repeat(300)}</UserId>` },
      'a username has at most 256 bytes',
    ],
  ])('%s is given back', async (_, changed, error) => {
    expect(await readOne({ secret: SECRET, ...changed })).toBe(error);
  });

  it('that is given back shows no secret in a wrong place', async () => {
    const { refused } = await readPskc(
      writePskc([{ secret: Buffer.alloc(1), serial: SECRET.toString('hex') }]),
    );
    expect(refused[0]?.cells.serialNumber).toBe('***');
  });
});

describe('an encrypted PSKC file', () => {
  const preSharedKey = randomBytes(16);
  const keys = [{ secret: SECRET }, { secret: Buffer.alloc(32, 7), algorithm: 'totp' }];
  const encrypted = writePskc(keys, { key: preSharedKey, mac: 'sha1' });

  it.each<[string, Encryption['key'], Encryption['mac']]>([
    ['AES-128 and HMAC-SHA1', randomBytes(16), 'sha1'],
    ['AES-128 and HMAC-SHA256', randomBytes(16), 'sha256'],
    ['AES-192', randomBytes(24), 'sha1'],
    ['AES-256', randomBytes(32), 'sha256'],
    ['a password', { password: 'pass wörd', salt: randomBytes(16), iterations: 2000 }, 'sha256'],
  ])('with %s is opened', async (_, key, mac) => {
    const options = 'password' in key ? { password: key.password } : { preSharedKey: key };
    const { tokens } = await readPskc(writePskc(keys, { key, mac }), options);
    expect(tokens.map(({ token }) => token.secret)).toEqual(keys.map(({ secret }) => secret));
  });

  it('is refused when any bit of a MAC, an IV or a ciphertext has changed', async () => {
    const texts = encrypted.matchAll(/<(?:ValueMAC|xenc:CipherValue)>([^<]+)</g);
    let count = 0;
    for (const { 1: base64, index } of texts) {
      const bytes = Buffer.from(base64!, 'base64');
      for (let at = 0; at < bytes.length; at += 3) {
        const changed = Buffer.from(bytes);
        changed[at]! ^= 1 << (at % 8);
        const start = encrypted.indexOf(base64!, index);
        const text =
          encrypted.slice(0, start) +
          changed.toString('base64') +
          encrypted.slice(start + base64!.length);
        count += 1;
        await expect(readPskc(text, { preSharedKey })).rejects.toThrow(
          'the key or password is wrong, or the file was changed',
        );
      }
    }
    // The MAC key, two secrets and two MACs.
    expect(count).toBeGreaterThan(60);
  });

  it('is refused with the wrong key or password, in the same words', async () => {
    const wrong = 'the key or password is wrong, or the file was changed';
    for (let round = 0; round < 50; round += 1) {
      const options = { preSharedKey: randomBytes(16), password: `wrong ${round}` };
      await expect(readPskc(encrypted, options)).rejects.toThrow(wrong);
    }
    await expect(readPskc(FIGURE_7, { password: 'Qwerty' })).rejects.toThrow(wrong);
  });

  it.each<[string, (text: string) => string, string]>([
    [
      'a secret has no MAC',
      (text) => text.replace(/<ValueMAC>[^<]*<\/ValueMAC>/, ''),
      'an encrypted secret has no MAC',
    ],
    [
      'a MAC is empty',
      (text) => text.replace(/<ValueMAC>[^<]*</, '<ValueMAC><'),
      'an encrypted secret has no MAC',
    ],
    [
      'a MAC is cut short',
      (text) => text.replace(/<ValueMAC>[^<]{4}/, '<ValueMAC>'),
      'or the file was changed',
    ],
    [
      'there is no MAC method',
      (text) => text.replace(/<MACMethod.*<\/MACMethod>/s, ''),
      'needs both',
    ],
    [
      'there is no MAC key',
      (text) => text.replace(/<MACKey>.*<\/MACKey>/s, ''),
      'the MACMethod has no MACKey',
    ],
    [
      'its MAC is MD5',
      (text) => text.replace('#hmac-sha1', '#hmac-md5'),
      'its MAC algorithm is not supported',
    ],
    [
      'its cipher is 3DES',
      (text) => text.replace('#aes128-cbc', '#tripledes-cbc'),
      'its encryption algorithm is not supported',
    ],
    [
      'its cipher names a key of another length',
      (text) => text.replaceAll('#aes128-cbc', '#aes256-cbc'),
      'the file needs a key of 32 bytes',
    ],
    [
      'a prototype is its cipher',
      (text) => text.replace(/http:[^"]*#aes128-cbc/, 'constructor'),
      'its encryption algorithm is not supported',
    ],
    [
      'a value is cut short',
      (text) => text.replace(/<xenc:CipherValue>[^<]{4}/, '<xenc:CipherValue>'),
      'an encrypted value is cut short',
    ],
    [
      'the encryption is taken away',
      (text) => text.replace(/<EncryptionKey.*<\/MACMethod>/s, ''),
      'the file says not how',
    ],
    [
      'a plain secret was slipped in',
      (text) =>
        text.replace(
          /<EncryptedValue.*?<\/ValueMAC>/s,
          `<PlainValue>${SECRET.toString('base64')}</PlainValue>`,
        ),
      'is not encrypted',
    ],
    [
      'a plain secret stands beside',
      (text) => text.replace('<Secret>', '<Secret><PlainValue>AAAA</PlainValue>'),
      'is not encrypted',
    ],
    [
      'a second secret stands beside',
      (text) => text.replace('<Data>', '<Data><x:Secret/>'),
      'an element has two Secret',
    ],
    [
      'it is for a certificate',
      (text) => text.replace(/<ds:KeyName>.*<\/ds:KeyName>/, '<ds:X509Data/>'),
      'for a certificate',
    ],
  ])('is refused when %s', async (_, change, message) => {
    const text = change(encrypted);
    expect(text).not.toBe(encrypted);
    await expect(readPskc(text, { preSharedKey })).rejects.toThrow(TokenFileError);
    await expect(readPskc(text, { preSharedKey })).rejects.toThrow(message);
  });

  it('says which of key and password it needs', async () => {
    await expect(readPskc(encrypted, { password: 'x' })).rejects.toThrow(
      'pre-shared key is needed',
    );
    await expect(readPskc(FIGURE_7, { preSharedKey })).rejects.toThrow('its password is needed');
    await expect(readPskc(encrypted, { preSharedKey: randomBytes(5) })).rejects.toThrow(
      'the file needs a key of 16 bytes',
    );
  });

  it.each([
    ['<IterationCount>1000<', '<IterationCount>1000001<', 'the iteration count is not from 1'],
    ['<IterationCount>1000<', '<IterationCount>0<', 'the iteration count is not from 1'],
    ['<IterationCount>1000<', '<IterationCount>1e3<', 'the iteration count is not from 1'],
    ['<KeyLength>16<', '<KeyLength>1000000000<', 'the length of the derived key'],
    ['Ej7/PEpyEpw=', 'Ej7/', 'the salt is missing or too short'],
    ['#pbkdf2', '#pbkdf1', 'only PBKDF2 is'],
    ['<PRF/>', '<PRF Algorithm="http://example.com#hmac-md5"/>', 'the PRF'],
  ])('is refused when its password goes through %s changed to %s', async (from, to, message) => {
    expect(FIGURE_7).toContain(from);
    await expect(readPskc(FIGURE_7.replace(from, to), { password: 'qwerty' })).rejects.toThrow(
      message,
    );
  });
});

describe('an XML file', () => {
  const plain = writePskc([{ secret: SECRET }]);

  it('that is signed is read, and says that nobody looked at the signature', async () => {
    expect(await readPskc(plain)).toMatchObject({ hasUncheckedSignature: false });
    const signed = plain.replace('</KeyContainer>', '<ds:Signature/></KeyContainer>');
    const read = await readPskc(signed);
    expect(read.hasUncheckedSignature).toBe(true);
    expect(read.tokens).toHaveLength(1);
  });

  it.each([
    ['a document type', '<!DOCTYPE KeyContainer>', 'a document type or entities'],
    ['an entity', '<!DOCTYPE x [<!ENTITY a "b">]>', 'a document type or entities'],
    [
      'an entity from elsewhere',
      '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
      'a document type or entities',
    ],
    ['an entity of its own', '<!ENTITY a "b">', 'a document type or entities'],
  ])('with %s is refused', async (_, declaration, message) => {
    await expect(readPskc(plain.replace('?>', `?>${declaration}`))).rejects.toThrow(message);
  });

  it.each([
    ['nothing', ''],
    ['a text', 'hello'],
    ['a CSV file', 'upn,serial number\n1,2'],
    ['an open element', '<KeyContainer Version="1.0">'],
    ['crossed elements', '<KeyContainer Version="1.0"><a><b></a></b></KeyContainer>'],
    ['another root', '<html Version="1.0"></html>'],
    ['two roots', '<KeyContainer Version="1.0"/><KeyContainer Version="1.0"/>'],
    ['version 2', '<KeyContainer Version="2.0"/>'],
    ['no version', '<KeyContainer/>'],
    ['10,000 elements in each other', '<a>'.repeat(10_000) + '</a>'.repeat(10_000)],
    [
      '33 elements in each other',
      `<KeyContainer Version="1.0">${'<a>'.repeat(33)}${'</a>'.repeat(33)}</KeyContainer>`,
    ],
    [
      'a prototype',
      '<KeyContainer Version="1.0"><__proto__><KeyPackage/></__proto__></KeyContainer>',
    ],
    [
      'a million elements',
      `<KeyContainer Version="1.0">${'<a></a>'.repeat(750_000)}</KeyContainer>`,
    ],
    ['a million attributes', `<KeyContainer Version="1.0" ${'a=""'.repeat(1_500_000)}/>`],
    ['bytes that are no text', Buffer.from([0x3c, 0xff])],
    ['more than 20 MiB', Buffer.alloc(20 * 1024 ** 2 + 1, ' ')],
  ])('with %s is refused', async (_, text) => {
    await expect(readPskc(text)).rejects.toThrow(TokenFileError);
  });

  it('with a value beyond 1,024 characters is refused, wherever it is', async () => {
    const long = 'ab '.repeat(10_000);
    for (const key of [
      { serial: long },
      { data: value('Counter', long) },
      { more: `<UserId>${long}</UserId>` },
      { more: `<Policy><ExpiryDate>${long}</ExpiryDate></Policy>` },
    ]) {
      await expect(readPskc(writePskc([{ secret: SECRET, ...key }]))).rejects.toThrow(
        'a value is too long',
      );
    }
  });

  it('says nothing of what it holds when it is broken', async () => {
    const base64 = SECRET.toString('base64');
    const error = await readPskc(plain.replace('</PlainValue>', '</Plain>')).catch(String);
    expect(error).toMatch(/^TokenFileError: not well-formed XML \(line \d+\)$/);
    expect(error).not.toContain(base64);
  });

  it('takes a name for an element of its own, not for what every object has', async () => {
    const text = '<KeyContainer Version="1.0"><toString/><hasOwnProperty/></KeyContainer>';
    const read = await readPskc(text).catch((error: unknown) => error);
    if (read instanceof Error) expect(read).toBeInstanceOf(TokenFileError);
    else expect(read).toMatchObject({ tokens: [], refused: [] });
  });
});

async function readOne(key: WrittenKey): Promise<ImportedToken | string> {
  const { tokens, refused } = await readPskc(writePskc([key]));
  expect(tokens.length + refused.length).toBe(1);
  return tokens[0]?.token ?? refused[0]!.error;
}

function value(name: string, text: string): string {
  return `<${name}><PlainValue>${text}</PlainValue></${name}>`;
}

const FIGURE_6 = `<?xml version="1.0" encoding="UTF-8"?>
<KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc"
  xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#">
  <EncryptionKey><ds:KeyName>Pre-shared-key</ds:KeyName></EncryptionKey>
  <MACMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1">
    <MACKey>
      <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
      <xenc:CipherData><xenc:CipherValue>
        ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX
      </xenc:CipherValue></xenc:CipherData>
    </MACKey>
  </MACMethod>
  <KeyPackage>
    <DeviceInfo><Manufacturer>Manufacturer</Manufacturer><SerialNo>987654321</SerialNo></DeviceInfo>
    <CryptoModuleInfo><Id>CM_ID_001</Id></CryptoModuleInfo>
    <Key Id="12345678" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp">
      <Issuer>Issuer</Issuer>
      <AlgorithmParameters><ResponseFormat Length="8" Encoding="DECIMAL"/></AlgorithmParameters>
      <Data>
        <Secret>
          <EncryptedValue>
            <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
            <xenc:CipherData><xenc:CipherValue>
              AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv
            </xenc:CipherValue></xenc:CipherData>
          </EncryptedValue>
          <ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=
          </ValueMAC>
        </Secret>
        <Counter><PlainValue>0</PlainValue></Counter>
      </Data>
    </Key>
  </KeyPackage>
</KeyContainer>`;

const FIGURE_7 = `<?xml version="1.0" encoding="UTF-8"?>
<pskc:KeyContainer xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc"
  xmlns:xenc11="http://www.w3.org/2009/xmlenc11#"
  xmlns:pkcs5="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#"
  xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" Version="1.0">
  <pskc:EncryptionKey>
    <xenc11:DerivedKey>
      <xenc11:KeyDerivationMethod
        Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2">
        <pkcs5:PBKDF2-params>
          <Salt><Specified>Ej7/PEpyEpw=</Specified></Salt>
          <IterationCount>1000</IterationCount>
          <KeyLength>16</KeyLength>
          <PRF/>
        </pkcs5:PBKDF2-params>
      </xenc11:KeyDerivationMethod>
      <xenc:ReferenceList><xenc:DataReference URI="#ED"/></xenc:ReferenceList>
      <xenc11:MasterKeyName>My Password 1</xenc11:MasterKeyName>
    </xenc11:DerivedKey>
  </pskc:EncryptionKey>
  <pskc:MACMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1">
    <pskc:MACKey>
      <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
      <xenc:CipherData><xenc:CipherValue>
        2GTTnLwM3I4e5IO5FkufoOEiOhNj91fhKRQBtBJYluUDsPOLTfUvoU2dStyOwYZx
      </xenc:CipherValue></xenc:CipherData>
    </pskc:MACKey>
  </pskc:MACMethod>
  <pskc:KeyPackage>
    <pskc:DeviceInfo>
      <pskc:Manufacturer>TokenVendorAcme</pskc:Manufacturer>
      <pskc:SerialNo>987654321</pskc:SerialNo>
    </pskc:DeviceInfo>
    <pskc:Key Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp" Id="123456">
      <pskc:Issuer>Example-Issuer</pskc:Issuer>
      <pskc:AlgorithmParameters>
        <pskc:ResponseFormat Length="8" Encoding="DECIMAL"/>
      </pskc:AlgorithmParameters>
      <pskc:Data>
        <pskc:Secret>
          <pskc:EncryptedValue Id="ED">
            <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
            <xenc:CipherData><xenc:CipherValue>
              oTvo+S22nsmS2Z/RtcoF8Hfh+jzMe0RkiafpoDpnoZTjPYZu6V+A4aEn032yCr4f
            </xenc:CipherValue></xenc:CipherData>
          </pskc:EncryptedValue>
          <pskc:ValueMAC>LP6xMvjtypbfT9PdkJhBZ+D6O4w=</pskc:ValueMAC>
        </pskc:Secret>
      </pskc:Data>
    </pskc:Key>
  </pskc:KeyPackage>
</pskc:KeyContainer>`;
