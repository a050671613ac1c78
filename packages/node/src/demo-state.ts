import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { z } from 'zod';

import { NodeError } from './node-error.ts';
import { writePrivateFile } from './write-private-file.ts';

const demoState = z.strictObject({
  nodes: z.int(),
  apiKey: z.string().nullable(),
  /** The demo user's authenticator, with its secret. */
  authenticator: z.strictObject({ id: z.string(), otpauth: z.string() }).nullable(),
});

/** What a demo must remember from one run to the next. Its file also marks a demo's folder. */
export type DemoState = z.infer<typeof demoState>;

export function isDemoFolder(directory: string): boolean {
  return existsSync(stateFile(directory));
}

/** Undefined where there is none. Throws NodeError for a damaged one. */
export function readDemoState(directory: string): DemoState | undefined {
  if (!isDemoFolder(directory)) return undefined;
  try {
    return demoState.parse(JSON.parse(readFileSync(stateFile(directory), 'utf8')));
  } catch (cause) {
    const file = stateFile(directory);
    throw new NodeError(`${file} cannot be used: begin anew with --fresh`, { cause });
  }
}

export function writeDemoState(directory: string, state: DemoState): void {
  writePrivateFile(stateFile(directory), `${JSON.stringify(state, null, 2)}\n`);
}

function stateFile(directory: string): string {
  return join(directory, 'demo-state.json');
}
