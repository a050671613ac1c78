import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { BerWriter } from 'ldapts';
import { expect, it } from 'vitest';
import {
  LdapFormatError,
  MESSAGE_BYTES_MAX,
  readMessage,
  readMessageSize,
} from './ldap-message.ts';
import { LdapStream } from './ldap-stream.ts';

const ENTRY = writeEntry(7, 'uid=alice,dc=example', { uid: ['alice'], mail: ['a@b', 'c@d'] });
const DONE = Buffer.from('300c02010765070a010004000400', 'hex');

it('reads messages as RFC 4511 writes them', () => {
  expect(readMessage(ENTRY)).toEqual({
    id: 7,
    operation: 0x64,
    resultCode: undefined,
    controls: new Map(),
  });
  expect(readMessage(DONE)).toMatchObject({ id: 7, operation: 0x65, resultCode: 0 });
});

it.each([
  ['nothing inside', '3000'],
  ['no operation', '3003020107'],
  ['no code', '300b02010765060a0004000400'],
  ['a code that is text', '300c0201076507040100040004 00'],
  ['an entry that ends within a value', '3011020107640c0401783007300504017531020461'],
  ['an attribute that is text', '300d02010764080401783003040175'],
  ['values that are no set', '301102010764 0c0401783007300504017530 00'],
  ['a length without an end', '3080020107650000'],
  ['an operation of a client', '300c02010760070201030400 8000'],
  ['an element that reaches beyond', '300c02010765070a01000400047f'],
])('refuses a message with %s', (_what, hex) => {
  expect(() => readMessage(Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toThrow(LdapFormatError);
});

it('refuses a size that is too large, before it has come', () => {
  const header = Buffer.alloc(6, 0x30);
  header[1] = 0x84;
  header.writeUInt32BE(MESSAGE_BYTES_MAX, 2);
  expect(() => readMessageSize(header)).toThrow(/too large/);
  expect(() => readMessageSize(Buffer.from('GET / HTTP'))).toThrow(/not LDAP/);
  expect(readMessageSize(Buffer.from([0x30]))).toBeNull();
});

it('reads or refuses 20,000 broken messages, and never anything else', () => {
  let seed = 11;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 20_000; round += 1) {
    const bytes = Buffer.from(round % 2 === 0 ? ENTRY : DONE);
    for (let count = random(3); count >= 0; count -= 1) bytes[random(bytes.length)] = random(256);
    try {
      const sizeBytes = readMessageSize(bytes);
      readMessage(sizeBytes === null ? bytes : bytes.subarray(0, sizeBytes));
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof LdapFormatError)) throw error;
      outcomes.refused += 1;
    }
  }
  expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(1000);
});

it('gives whole messages, however the bytes arrive, and ends at the first that is broken', async () => {
  const both = Buffer.concat([ENTRY, DONE, ENTRY]);
  const { stream, server, end } = await openPair();
  const got: Buffer[] = [];
  stream.on('data', (bytes: Buffer) => got.push(bytes));
  try {
    for (const byte of both) server.write(Buffer.from([byte]));
    server.write(Buffer.concat([DONE, Buffer.from('broken')]));
    await once(stream, 'close');
    expect(Buffer.concat(got)).toEqual(Buffer.concat([both, DONE]));
    expect(got.length).toBe(4);
    expect(stream.problem).toBe('it is not LDAP');
    expect(stream.ending).toMatchObject({ id: 7, resultCode: 0 });
  } finally {
    await end();
  }
});

it('ends when the server says that it goes away', async () => {
  const { stream, server, end } = await openPair();
  try {
    stream.resume();
    server.write(Buffer.from('300c02010078070a013404000400', 'hex'));
    await once(stream, 'close');
    expect(stream.problem).toBe('the server ended the connection');
  } finally {
    await end();
  }
});

async function openPair() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1');
  const [server] = (await once(listener, 'connection')) as [Socket];
  server.on('error', () => undefined);
  const end = async () => {
    server.destroy();
    listener.close();
    await once(listener, 'close');
  };
  return { stream: new LdapStream(client), server, end };
}

function writeEntry(id: number, dn: string, attributes: Record<string, string[]>): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(0x64);
  writer.writeString(dn);
  writer.startSequence();
  for (const [name, values] of Object.entries(attributes)) {
    writer.startSequence();
    writer.writeString(name);
    writer.startSequence(0x31);
    for (const value of values) writer.writeString(value);
    writer.endSequence();
    writer.endSequence();
  }
  writer.endSequence();
  writer.endSequence();
  writer.endSequence();
  return writer.buffer;
}
