import { Readable } from 'node:stream';
import { createZstdCompress } from 'node:zlib';
import { BackupError } from './backup-error.ts';
import { encodeHeader } from './backup-header.ts';
import { parseLine, type Manifest } from './backup-lines.ts';
import { encrypterTo, type SealTo } from './secrets.ts';

/** What is handed to the compressor at once. */
const BLOCK_BYTES = 256 * 1024;

/**
 * The bytes of a backup file, made as they are taken: the header, then the lines compressed (zstd) and encrypted (age).
 * @throws BackupError `bad_secret` before anything else; what the lines throw; `damaged` where they have no end
 */
export async function* sealBackup(
  lines: AsyncIterable<string | Buffer>,
  to: SealTo,
  onManifest: (manifest: Manifest) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  const encrypter = encrypterTo(to);
  const blocks = wholeLines(lines)[Symbol.asyncIterator]();
  const first = await blocks.next();
  const [firstLine = ''] = first.done ? [] : first.value.split('\n', 1);
  const manifest = firstLine === '' ? null : parseLine(firstLine);
  refuseFailed(manifest);
  if (!manifest || !('manifest' in manifest)) throw noBackup();
  onManifest(manifest.manifest);
  yield Buffer.from(encodeHeader(manifest.manifest));
  const all = async function* () {
    let last = first.value as string;
    yield Buffer.from(last);
    for (;;) {
      const next = await blocks.next();
      if (next.done) break;
      last = next.value;
      yield Buffer.from(last);
    }
    const line = parseLine(last.slice(last.lastIndexOf('\n', last.length - 2) + 1));
    refuseFailed(line);
    if (!('end' in line)) throw noBackup();
  };
  const source = Readable.from(all(), { objectMode: false });
  const compressed = createZstdCompress();
  source.once('error', (error) => compressed.destroy(error));
  source.pipe(compressed);
  const plain = Readable.toWeb(compressed) as ReadableStream<Uint8Array>;
  const sealed = await encrypter.encrypt(plain);
  try {
    yield* sealed as unknown as AsyncIterable<Uint8Array>;
  } finally {
    source.destroy();
    compressed.destroy();
  }
}

/** Blocks that end with a line's end, so that the last one holds the last line. */
async function* wholeLines(lines: AsyncIterable<string | Buffer>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of lines) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    if (rest.length < BLOCK_BYTES) continue;
    const end = rest.lastIndexOf('\n') + 1;
    if (end > 0) yield rest.slice(0, end);
    rest = rest.slice(end);
  }
  if (rest !== '') yield rest.endsWith('\n') ? rest : `${rest}\n`;
}

function refuseFailed(line: ReturnType<typeof parseLine> | null): void {
  if (line && 'failed' in line) throw new BackupError('not_now', line.failed.message);
}

function noBackup(): BackupError {
  return new BackupError(
    'not_now',
    'the node ended the backup before its end: nothing was written',
  );
}
