import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import { BackupError, damaged } from './backup-error.ts';
import { encodeHeader, HEADER_MAX_BYTES, parseHeader, type BackupHeader } from './backup-header.ts';
import { LINE_MAX_LENGTH, parseLine, type BackupLine, type Manifest } from './backup-lines.ts';
import { decrypterWith, type OpenWith } from './secrets.ts';

const AGE_MAGIC = 'age-encryption.org/v1\n';
/** Some recipients; without a bound one line without an end would be read into memory. */
const AGE_HEADER_MAX_BYTES = 64 * 1024;

/** @throws BackupError `unreadable`, `foreign`, `newer`, `damaged` */
export async function readBackupHeader(path: string): Promise<BackupHeader> {
  return (await readBeginning(path)).header;
}

/**
 * The manifest, and all lines after it, as they are taken: decrypted, authenticated piece by piece, checked one by one.
 * Only once the last was taken is it known that nothing is missing.
 * @throws BackupError `unreadable`, `foreign`, `newer`, `wrong_secret`, `bad_secret`, `damaged`
 */
export async function openBackup(
  path: string,
  secret: OpenWith,
): Promise<{ manifest: Manifest; lines: AsyncIterable<BackupLine>; close(): void }> {
  const beginning = await readBeginning(path);
  const decrypter = decrypterWith(secret);
  const file = createReadStream(path, { start: Buffer.byteLength(beginning.line) });
  const decompressed = createZstdDecompress();
  const close = () => {
    file.destroy();
    decompressed.destroy();
  };
  try {
    const plain = await decrypter
      .decrypt(Readable.toWeb(file) as ReadableStream<Uint8Array>)
      .catch((error: unknown) => {
        throw explainDecryption(error, beginning.isToPassphrase, secret);
      });
    const decrypted = Readable.fromWeb(plain as Parameters<typeof Readable.fromWeb>[0]);
    decrypted.once('error', (error) => decompressed.destroy(error));
    decrypted.pipe(decompressed);
    const lines = parsedLines(decompressed)[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done || !('manifest' in first.value)) throw damaged('it has no manifest');
    const { manifest } = first.value;
    if (encodeHeader(manifest) !== beginning.line) {
      throw damaged('its first line says something else than what is encrypted');
    }
    return { manifest, lines: { [Symbol.asyncIterator]: () => lines }, close };
  } catch (error) {
    close();
    throw error;
  }
}

type Beginning = { header: BackupHeader; line: string; isToPassphrase: boolean };

async function readBeginning(path: string): Promise<Beginning> {
  const bytes = Buffer.alloc(HEADER_MAX_BYTES + AGE_HEADER_MAX_BYTES);
  let length: number;
  try {
    const file = await open(path, 'r');
    try {
      if (!(await file.stat()).isFile()) throw new BackupError('unreadable', `${path} is no file`);
      ({ bytesRead: length } = await file.read(bytes, 0, bytes.length, 0));
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof BackupError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? `${path} does not exist` : `cannot read ${path} (${code})`;
    throw new BackupError('unreadable', why, { cause });
  }
  const read = bytes.subarray(0, length);
  const { header, line } = parseHeader(read);
  const sealed = read.subarray(Buffer.byteLength(line));
  if (!sealed.toString('latin1', 0, AGE_MAGIC.length).startsWith(AGE_MAGIC)) {
    throw damaged('what follows its first line is not encrypted with age');
  }
  if (!sealed.includes('\n--- ')) throw damaged('it ends within its header');
  return { header, line, isToPassphrase: sealed.includes('\n-> scrypt ') };
}

async function* parsedLines(text: AsyncIterable<Buffer>): AsyncGenerator<BackupLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  try {
    for await (const chunk of text) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop()!;
      if (rest.length > LINE_MAX_LENGTH) throw damaged('a line has no end');
      for (const line of lines) yield parseLine(line);
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    if ((error as { syscall?: string }).syscall !== undefined) {
      const why = `the backup cannot be read (${String((error as { code?: string }).code)})`;
      throw new BackupError('unreadable', why, { cause: error });
    }
    throw damaged('it is cut off or was altered', error);
  }
  if (rest !== '') throw damaged('it is cut off');
}

function explainDecryption(error: unknown, isToPassphrase: boolean, secret: OpenWith): BackupError {
  const text = error instanceof Error ? error.message : String(error);
  if (!text.includes('no identity matched')) return damaged('its header was altered', error);
  if (isToPassphrase !== 'passphrase' in secret) {
    const needed = isToPassphrase
      ? 'a passphrase opens this backup, not an identity'
      : 'this backup was encrypted to a public key: its identity opens it, not a passphrase';
    return new BackupError('wrong_secret', needed, { cause: error });
  }
  const what = 'passphrase' in secret ? 'passphrase' : 'identity';
  return new BackupError('wrong_secret', `the ${what} does not open this backup`, { cause: error });
}
