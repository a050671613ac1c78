import type { Socket } from 'node:net';
import { BerWriter } from 'ldapts';
import { describe, expect, it } from 'vitest';
import type { Entry } from './bound-client.ts';
import { Connection } from './connection.ts';
import { PAGED_RESULTS } from './ldap-message.ts';
import { parseServer } from './open-socket.ts';
import { parseFilter } from './parse-filter.ts';
import { startFaultyServer } from './testing/faulty-servers.ts';

const SETTINGS = {
  certificates: { authorities: null, pinned: [], serverName: null },
  startTls: false,
  connectMs: 10_000,
  answerMs: 10_000,
  pageSize: 10,
};
const QUERY = { scope: 'sub' as const, filter: '(objectClass=*)', attributes: ['uid'] };

/** Answers the requests in turn; what is said last is said again. */
async function openTo(answers: ((id: number) => Buffer[])[]) {
  const server = await startFaultyServer((socket: Socket) => {
    let at = 0;
    socket.on('data', (request) => {
      const answer = answers[Math.min(at, answers.length - 1)]!;
      at += 1;
      // Of a request 30 len 02 len id.
      const idAt = (request[1]! < 0x80 ? 2 : 2 + (request[1]! & 0x7f)) + 2;
      const id = request.readIntBE(idAt, request[idAt - 1]!);
      for (const bytes of answer(id)) socket.write(bytes);
    });
  });
  const connection = await Connection.open(parseServer(server.url), SETTINGS);
  const end = async () => {
    connection.close();
    await server[Symbol.asyncDispose]();
  };
  return { connection, end };
}

async function readAll(connection: Connection): Promise<string[]> {
  const found: Entry[] = [];
  for await (const { entries } of connection.searchPages('dc=x', QUERY)) found.push(...entries);
  return found.map(({ dn }) => dn);
}

describe('an answer in pages', () => {
  it('goes on after a page without objects', async () => {
    const { connection, end } = await openTo([
      (id) => [writeDone(id, { cookie: 'a' })],
      (id) => [writeEntry(id, 'uid=1'), writeDone(id, { cookie: 'b' })],
      (id) => [writeDone(id, { cookie: 'c' })],
      (id) => [writeEntry(id, 'uid=2'), writeDone(id, { cookie: '' })],
    ]);
    expect(await readAll(connection)).toEqual(['uid=1', 'uid=2']);
    await end();
  });

  it('is all, of a server that does not page, and none where a limit cut it off', async () => {
    const whole = await openTo([(id) => [writeEntry(id, 'uid=1'), writeDone(id)]]);
    expect(await readAll(whole.connection)).toEqual(['uid=1']);
    await whole.end();
    for (const code of [3, 4, 10, 11, 50, 53, 80]) {
      const { connection, end } = await openTo([
        (id) => [writeEntry(id, 'uid=1'), writeDone(id, { code })],
      ]);
      await expect(readAll(connection)).rejects.toMatchObject({ resultCode: code });
      await end();
    }
  });

  it('is left where pages without objects have no end', async () => {
    const { connection, end } = await openTo([(id) => [writeDone(id, { cookie: 'again' })]]);
    await expect(readAll(connection)).rejects.toThrow(/empty pages without an end/);
    await end();
  });
});

it('one that ended is never opened anew, as nobody', async () => {
  const { connection, end } = await openTo([(id) => [writeDone(id)]]);
  await connection.search('dc=x', QUERY);
  connection.close();
  await expect(connection.search('dc=x', QUERY)).rejects.toMatchObject({ fault: 'unreachable' });
  await expect(connection.bind('cn=x', 'y')).rejects.toMatchObject({ fault: 'unreachable' });
  await end();
});

it('one answer drop by drop is waited for no longer than one at once', async () => {
  const timers: NodeJS.Timeout[] = [];
  const server = await startFaultyServer((socket) => {
    socket.once('data', () => {
      let at = 0;
      const whole = Buffer.alloc(1000, writeEntry(2, 'uid=1'));
      timers.push(setInterval(() => socket.write(whole.subarray(at, (at += 1))), 50));
    });
  });
  const settings = { ...SETTINGS, answerMs: 500 };
  const connection = await Connection.open(parseServer(server.url), settings);
  await expect(connection.search('', QUERY)).rejects.toThrow(/no answer within 500 ms/);
  expect(connection.isOpen).toBe(false);
  timers.forEach(clearInterval);
  await server[Symbol.asyncDispose]();
});

it('filters with letters of other alphabets reach the server as UTF-8, escaped or not', () => {
  const bytes = (text: string) => {
    const writer = new BerWriter();
    parseFilter(text).write(writer);
    return writer.buffer;
  };
  expect(bytes('(cn=Z\\c3\\bcrich)')).toEqual(bytes('(cn=Zürich)'));
  expect(bytes('(cn=Z\\C3\\BCri*)').includes(Buffer.from('Züri'))).toBe(true);
  expect(bytes('(cn=a\\2ab)').includes(Buffer.from('a*b'))).toBe(true);
  for (const text of ['(cn=\\ff)', '(cn=x', 'cn', '(&(cn=x)', '']) {
    expect(() => parseFilter(text)).toThrow(/cannot be read/);
  }
});

function writeEntry(id: number, dn: string): Buffer {
  return writeMessage(id, 0x64, (writer) => {
    writer.writeString(dn);
    writer.startSequence();
    writer.endSequence();
  });
}

function writeDone(id: number, { code = 0, cookie }: { code?: number; cookie?: string } = {}) {
  const result = (writer: BerWriter) => {
    writer.writeEnumeration(code);
    writer.writeString('');
    writer.writeString('');
  };
  if (cookie === undefined) return writeMessage(id, 0x65, result);
  const value = new BerWriter();
  value.startSequence();
  value.writeInt(0);
  value.writeString(cookie);
  value.endSequence();
  return writeMessage(id, 0x65, result, (writer) => {
    writer.startSequence(0xa0);
    writer.startSequence();
    writer.writeString(PAGED_RESULTS);
    writer.writeBuffer(value.buffer, 0x04);
    writer.endSequence();
    writer.endSequence();
  });
}

function writeMessage(
  id: number,
  operation: number,
  content: (writer: BerWriter) => void,
  controls: (writer: BerWriter) => void = () => {},
): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(operation);
  content(writer);
  writer.endSequence();
  controls(writer);
  writer.endSequence();
  return writer.buffer;
}
