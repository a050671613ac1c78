import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Incarnation } from '@countersign/cluster';

const fileIn = (dataDirectory: string) => join(dataDirectory, 'rejoin');

/** An operator gives up what this node has and `incarnation` does not know; also after a restart. */
export function wishToRejoin(dataDirectory: string, incarnationId: string): void {
  writeFileSync(fileIn(dataDirectory), incarnationId, { mode: 0o600 });
}

export function mayDropFor(dataDirectory: string, incarnation: Incarnation): boolean {
  try {
    const wished = readFileSync(fileIn(dataDirectory), 'utf8');
    return (
      wished === incarnation.id || incarnation.ancestors.some((ancestor) => ancestor.id === wished)
    );
  } catch {
    return false;
  }
}

export function forgetRejoin(dataDirectory: string): void {
  rmSync(fileIn(dataDirectory), { force: true });
}
