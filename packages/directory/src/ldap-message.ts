/** What a directory may send in one message: a group with 400,000 members fits. */
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** What came is no LDAP message that a server sends. */
export class LdapFormatError extends Error {
  override readonly name = 'LdapFormatError';
}

/** The end of a request, or an object on the way to it. */
export type LdapMessage = {
  id: number;
  operation: number;
  /** Of an ending: RFC 4511 4.1.9. */
  resultCode: number | undefined;
  /** Values by OID. */
  controls: Map<string, Buffer>;
};

export const OPERATION = {
  bindResponse: 0x61,
  searchEntry: 0x64,
  searchDone: 0x65,
  searchReference: 0x73,
  extendedResponse: 0x78,
} as const;

type Element = { tag: number; content: Buffer };

/** The bytes of the whole message that begins here; null: too few are there to tell. */
export function readMessageSize(bytes: Buffer): number | null {
  if (bytes.length > 0 && bytes[0] !== SEQUENCE) throw new LdapFormatError('it is not LDAP');
  const header = readHeader(bytes, 0);
  if (!header) return null;
  const sizeBytes = header.start + header.length;
  if (sizeBytes > MESSAGE_BYTES_MAX) throw new LdapFormatError('a message is too large');
  return sizeBytes;
}

/**
 * Reads a whole message as strictly as RFC 4511 4.1 and 4.5.2 write it. What passes can be given
 * to a lenient parser: one that waits for bytes inside of a broken element, or takes a result
 * without a code for success, never sees such.
 */
export function readMessage(bytes: Buffer): LdapMessage {
  const [message, ...after] = readElements(bytes);
  if (message?.tag !== SEQUENCE || after.length > 0) throw new LdapFormatError('it is not LDAP');
  const [id, operation, controls, ...rest] = readElements(message.content);
  if (id?.tag !== INTEGER || id.content.length < 1 || id.content.length > 4 || rest.length > 0) {
    throw new LdapFormatError('a message has no number');
  }
  if (!operation) throw new LdapFormatError('a message is empty');
  if (controls && controls.tag !== CONTROLS) throw new LdapFormatError('a message goes on');
  return {
    id: id.content.readIntBE(0, id.content.length),
    operation: operation.tag,
    resultCode: checkOperation(operation),
    controls: controls ? readControls(controls.content) : new Map(),
  };
}

function checkOperation({ tag, content }: Element): number | undefined {
  const parts = readElements(content);
  switch (tag) {
    case OPERATION.searchEntry:
      expectTags(parts, [OCTETS, SEQUENCE]);
      for (const attribute of readElements(parts[1]!.content)) checkAttribute(attribute);
      return undefined;
    case OPERATION.searchReference:
      for (const uri of parts) expectTags([uri], [OCTETS]);
      return undefined;
    case OPERATION.bindResponse:
    case OPERATION.searchDone:
    case OPERATION.extendedResponse: {
      expectTags(parts.slice(0, 3), [ENUMERATED, OCTETS, OCTETS]);
      const code = parts[0]!.content;
      if (code.length < 1 || code.length > 2) throw new LdapFormatError('a result has no code');
      return code.readIntBE(0, code.length);
    }
    default:
      throw new LdapFormatError(`operation 0x${tag.toString(16)} is none of an answer`);
  }
}

function checkAttribute(attribute: Element): void {
  expectTags([attribute], [SEQUENCE]);
  const parts = readElements(attribute.content);
  expectTags(parts, [OCTETS, SET]);
  for (const value of readElements(parts[1]!.content)) expectTags([value], [OCTETS]);
}

function readControls(bytes: Buffer): Map<string, Buffer> {
  const controls = new Map<string, Buffer>();
  for (const control of readElements(bytes)) {
    expectTags([control], [SEQUENCE]);
    const [oid, ...rest] = readElements(control.content);
    const value = rest[0]?.tag === BOOLEAN ? rest[1] : rest[0];
    if (oid?.tag !== OCTETS || (value && value.tag !== OCTETS)) {
      throw new LdapFormatError('a control is broken');
    }
    controls.set(oid.content.toString('latin1'), value?.content ?? Buffer.alloc(0));
  }
  return controls;
}

/** The cookie of RFC 2696: empty at the end; null where the server does not page. */
export function readPageCookie(controls: Map<string, Buffer>): Buffer | null {
  const value = controls.get(PAGED_RESULTS);
  if (!value) return null;
  const [sequence] = readElements(value);
  const [size, cookie] = sequence ? readElements(sequence.content) : [];
  if (size?.tag !== INTEGER || cookie?.tag !== OCTETS) {
    throw new LdapFormatError('the place in a paged answer is broken');
  }
  return cookie.content;
}

export const PAGED_RESULTS = '1.2.840.113556.1.4.319';

const [BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET] = [0x01, 0x02, 0x04, 0x0a, 0x30, 0x31];
const CONTROLS = 0xa0;

function expectTags(elements: Element[], tags: (number | undefined)[]): void {
  const isSame = elements.length === tags.length && elements.every((one, i) => one.tag === tags[i]);
  if (!isSame) throw new LdapFormatError('a message is broken');
}

/** All elements, one behind the other, that fill the bytes exactly. */
function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const header = readHeader(bytes, at);
    const end = header ? header.start + header.length : Infinity;
    if (!header || end > bytes.length) throw new LdapFormatError('a message is broken');
    elements.push({ tag: bytes[at]!, content: bytes.subarray(header.start, end) });
    at = end;
  }
  return elements;
}

/** Definite lengths of at most four bytes: RFC 4511 5.1 knows no others. */
function readHeader(bytes: Buffer, at: number): { start: number; length: number } | null {
  const first = bytes[at + 1];
  if (first === undefined) return null;
  if (first < 0x80) return { start: at + 2, length: first };
  const count = first - 0x80;
  if (count < 1 || count > 4) throw new LdapFormatError('a length cannot be');
  if (bytes.length < at + 2 + count) return null;
  return { start: at + 2 + count, length: bytes.readUIntBE(at + 2, count) };
}
