import { open } from 'node:fs/promises';

/** The size of a log now, so that later only what came after is read. 0 when there is none. */
export async function logSizeBytes(logFile: string): Promise<number> {
  const file = await open(logFile).catch(() => undefined);
  if (!file) return 0;
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** The last line after `fromByte` that matches, read from at most the last 64 KiB. */
export async function lastLogLine(
  logFile: string,
  fromByte: number,
  pattern: RegExp,
): Promise<string | undefined> {
  const file = await open(logFile).catch(() => undefined);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const start = Math.max(fromByte, size - 64 * 1024);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    await file.read(buffer, 0, buffer.length, start);
    return buffer
      .toString('utf8')
      .split('\n')
      .findLast((line) => pattern.test(line));
  } finally {
    await file.close();
  }
}
