import { createCipheriv, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

export type WrittenKey = {
  secret: Uint8Array;
  algorithm?: string;
  serial?: string;
  /** XML of the device and of the key besides what the other fields make. */
  device?: string;
  parameters?: string;
  data?: string;
  more?: string;
};

export type Encryption = {
  key: Uint8Array | { password: string; salt: Uint8Array; iterations: number };
  mac: 'sha1' | 'sha256';
};

const MACS = {
  sha1: 'http://www.w3.org/2000/09/xmldsig#hmac-sha1',
  sha256: 'http://www.w3.org/2001/04/xmldsig-more#hmac-sha256',
};

/** A container of RFC 6030, with what belongs into its elements given as XML. */
export function writePskc(keys: WrittenKey[], encryption?: Encryption): string {
  const sealer = encryption && sealerFor(encryption);
  const packages = keys.map((key, index) => writeKey(key, index + 1, sealer?.seal ?? plain));
  return `<?xml version="1.0" encoding="UTF-8"?>
<KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc"
  xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"
  xmlns:xenc11="http://www.w3.org/2009/xmlenc11#"
  xmlns:pkcs5="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#">
${sealer?.header ?? ''}${packages.join('\n')}
</KeyContainer>
`;
}

function writeKey(key: WrittenKey, id: number, secret: (bytes: Uint8Array) => string): string {
  const { algorithm = 'hotp', serial = String(1000 + id), parameters, data = '' } = key;
  const format = parameters ?? '<ResponseFormat Length="6" Encoding="DECIMAL"/>';
  return `<KeyPackage>
  <DeviceInfo><Manufacturer>Contoso</Manufacturer><SerialNo>${serial}</SerialNo>${key.device ?? ''}</DeviceInfo>
  <Key Id="${id}" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:${algorithm}">
    <AlgorithmParameters>${format}</AlgorithmParameters>
    <Data><Secret>${secret(key.secret)}</Secret>${data}</Data>${key.more ?? ''}
  </Key>
</KeyPackage>`;
}

function plain(bytes: Uint8Array): string {
  return `<PlainValue>${Buffer.from(bytes).toString('base64')}</PlainValue>`;
}

function sealerFor({ key: from, mac }: Encryption) {
  const key = 'password' in from ? derive(from) : from;
  const macKey = randomBytes(mac === 'sha1' ? 20 : 32);
  const header = `<EncryptionKey>${writeKeyOf(from)}</EncryptionKey>
<MACMethod Algorithm="${MACS[mac]}"><MACKey>${writeEncrypted(encrypt(macKey, key), key)}</MACKey></MACMethod>
`;
  const seal = (bytes: Uint8Array) => {
    const encrypted = encrypt(bytes, key);
    const tag = createHmac(mac, macKey).update(encrypted).digest('base64');
    return `<EncryptedValue>${writeEncrypted(encrypted, key)}</EncryptedValue><ValueMAC>${tag}</ValueMAC>`;
  };
  return { header, seal };
}

type FromPassword = Exclude<Encryption['key'], Uint8Array>;

function derive({ password, salt, iterations }: FromPassword): Buffer {
  return pbkdf2Sync(password, salt, iterations, 16, 'sha1');
}

function writeKeyOf(from: Encryption['key']): string {
  if (!('password' in from)) return '<ds:KeyName>Pre-shared-key</ds:KeyName>';
  return `<xenc11:DerivedKey><xenc11:KeyDerivationMethod
    Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2">
    <pkcs5:PBKDF2-params><Salt><Specified>${Buffer.from(from.salt).toString('base64')}</Specified></Salt>
      <IterationCount>${from.iterations}</IterationCount><KeyLength>16</KeyLength><PRF/></pkcs5:PBKDF2-params>
  </xenc11:KeyDerivationMethod></xenc11:DerivedKey>`;
}

function encrypt(bytes: Uint8Array, key: Uint8Array): Buffer {
  const iv = randomBytes(16);
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv);
  return Buffer.concat([iv, cipher.update(bytes), cipher.final()]);
}

function writeEncrypted(encrypted: Buffer, key: Uint8Array): string {
  return `<xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes${key.length * 8}-cbc"/>
<xenc:CipherData><xenc:CipherValue>${encrypted.toString('base64')}</xenc:CipherValue></xenc:CipherData>`;
}
