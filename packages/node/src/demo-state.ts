import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writePrivateFile } from '@countersign/private-files';

import { z } from 'zod';

import { NodeError } from './node-error.ts';

const demoState = z.strictObject({
  nodes: z.int(),
  /** The demo user's authenticator, with its secret. */
  authenticator: z.strictObject({ id: z.string(), otpauth: z.string() }).nullable(),
  /** Shared with the demo's RADIUS client; demos of earlier versions have none. */
  radiusSecret: z.string().nullable().default(null),
  /** Of the first administrator, until it is accepted. */
  invitation: z.string().nullable().default(null),
  /** Who accepts it; null in demos of earlier versions. */
  administrator: z
    .strictObject({ username: z.string(), password: z.string(), otpauth: z.string() })
    .nullable()
    .default(null),
});

/** What a demo must remember from one run to the next. Its file also marks a demo's folder. */
export type DemoState = z.infer<typeof demoState> & { apiKey: string | null };

/** The names of the files; the key has one of its own, fit for the command line. */
export const demoStateFiles = ['api-key', 'demo-state.json'] as const;
const [keyFile, stateFile] = demoStateFiles;

export function isDemoFolder(directory: string): boolean {
  return existsSync(join(directory, stateFile));
}

/** Undefined where there is none. Throws NodeError for a damaged one. */
export function readDemoState(directory: string): DemoState | undefined {
  if (!isDemoFolder(directory)) return undefined;
  const file = join(directory, stateFile);
  try {
    const state = demoState.parse(JSON.parse(readFileSync(file, 'utf8')));
    return { ...state, apiKey: readApiKey(directory) };
  } catch (cause) {
    throw new NodeError(`${file} cannot be used: begin anew with --fresh`, { cause });
  }
}

export function writeDemoState(directory: string, { apiKey, ...state }: DemoState): void {
  if (apiKey !== null) writePrivateFile(join(directory, keyFile), `${apiKey}\n`);
  writePrivateFile(join(directory, stateFile), `${JSON.stringify(state, null, 2)}\n`);
}

function readApiKey(directory: string): string | null {
  const file = join(directory, keyFile);
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
}
