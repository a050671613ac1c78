import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';

const FILE = 'countersign-mark';

/**
 * A number that lies beside a log server's store and only grows. The other nodes hear it: who starts with a smaller
 * one has been given an older disk. 0 where none was written.
 */
export function readStoreMark(storeDirectory: string): number {
  try {
    const mark = Number(readFileSync(join(storeDirectory, FILE), 'utf8'));
    return Number.isSafeInteger(mark) ? mark : 0;
  } catch {
    return 0;
  }
}

/** On disk when it returns: what others have heard must survive a power cut. Throws where there is no store. */
export async function writeStoreMark(storeDirectory: string, mark: number): Promise<void> {
  const file = join(storeDirectory, FILE);
  await using draft = await open(`${file}.tmp`, 'w', 0o600);
  await draft.writeFile(String(mark));
  await draft.sync();
  await rename(`${file}.tmp`, file);
  await using folder = await open(storeDirectory, 'r');
  await folder.sync();
}
