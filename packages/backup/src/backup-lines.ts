import { parseStopFact } from '@countersign/verification';
import { z } from 'zod';
import { BackupError, damaged } from './backup-error.ts';

/** The format of the lines; a later one is refused by versions that do not know it. */
export const BACKUP_FORMAT = 1;
/** A user with everything has some 100 KB. */
export const LINE_MAX_LENGTH = 16 * 1024 * 1024;

const incarnation = z.object({
  number: z.int().min(1),
  id: z.string().min(1).max(64),
  parent: z.string().max(64).nullable(),
  baseRevision: z.int().min(0),
  baseEpoch: z.int().min(0),
  ancestors: z
    .array(z.object({ number: z.int(), id: z.string().max(64), revision: z.int() }))
    .max(1000),
  by: z.string().max(63).nullable(),
  disasterAt: z.string().max(30).nullable(),
});

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);

const manifest = z.object({
  format: z.literal(BACKUP_FORMAT),
  /** Of this backup. */
  id: z.uuid(),
  createdAt: z.iso.datetime(),
  /** The node it was made at, and the version of Countersign that ran there. */
  node: z.string().min(1).max(63),
  version: z.string().min(1).max(64),
  /** Null: the cluster has no identity of its own. */
  clusterId: z.string().max(64).nullable(),
  incarnation,
  revision: count,
  epoch: count,
  /** Of all documents at that revision, as every node has it. */
  digest: hex64,
  withEvents: z.boolean(),
});
/** What a backup says about itself; the first of its lines. */
export type Manifest = z.infer<typeof manifest>;

const end = z.object({
  documents: count,
  userStates: count,
  stopFacts: count,
  reservations: count,
  events: count,
});
/** How many lines of each kind there were; the last line. */
export type Counts = z.infer<typeof end>;

/** `message` is a document as it stands in the log: encrypted, and JSON by itself. */
const document = z.tuple([
  z.string().min(1).max(64),
  z.string().min(1).max(256),
  z.int().min(1),
  count,
  z.boolean(),
  z.string(),
]);

const stopFact = z.unknown().transform((value, context) => {
  try {
    return parseStopFact(value);
  } catch {
    context.addIssue('not a stop fact');
    return z.NEVER;
  }
});

const reservation = z.object({
  userId: z.uuid(),
  item: z.string().max(256),
  attemptId: z.string().max(256),
  holder: z.string().max(63),
  phase: z.literal('approved'),
  degraded: z.literal(true),
  claim: z.record(z.string(), z.unknown()),
  merged: z.literal(false),
});

const event = z.object({
  id: z.uuid(),
  at: z.iso.datetime(),
  type: z.string().max(256),
  node: z.string().max(256),
  userId: z.uuid().nullable(),
  username: z.string().nullable(),
  actor: z.string().nullable(),
  application: z.string().nullable(),
  clientAddress: z.string().nullable(),
  result: z.string().nullable(),
  reason: z.string().nullable(),
  degraded: z.boolean(),
  durationMs: z.number().nullable(),
  details: z.record(z.string(), z.unknown()),
  incarnation: z.int(),
  arrival: z.int(),
});

const line = z.union([
  z.strictObject({ document }),
  z.strictObject({ userState: z.tuple([z.uuid(), z.record(z.string(), z.unknown())]) }),
  z.strictObject({ event }),
  z.strictObject({ manifest }),
  z.strictObject({
    clusterKey: z
      .string()
      .min(1)
      .max(512 * 1024),
  }),
  z.strictObject({ stopFact }),
  z.strictObject({ reservation }),
  z.strictObject({ end }),
  z.strictObject({ failed: z.object({ message: z.string().max(2000) }) }),
]);

/**
 * A backup is JSON lines in this order: `manifest`, `clusterKey`, then documents, user states, stop facts,
 * reservations, events, and `end`. `failed` stands in place of the rest where the one who made it had to give up.
 */
export type BackupLine = z.infer<typeof line>;

export function encodeLine(value: BackupLine): string {
  return `${JSON.stringify(value)}\n`;
}

/** @throws BackupError `newer` or `damaged`; it never repeats a value */
export function parseLine(text: string): BackupLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged('a line is no JSON');
  }
  const parsed = line.safeParse(value);
  if (parsed.success) return parsed.data;
  const { manifest: told } = (value ?? {}) as { manifest?: { format?: unknown } };
  const format = told?.format;
  if (typeof format === 'number' && format > BACKUP_FORMAT) throw newerFormat(format);
  const [kind = 'line'] = Object.keys(value ?? {});
  throw damaged(`a ${kind.slice(0, 20)} is not valid`);
}

export function newerFormat(format: number): BackupError {
  return new BackupError(
    'newer',
    `the backup has format ${format}, this version of Countersign reads up to ${BACKUP_FORMAT}: ` +
      'use the version that made it, or a newer one',
  );
}
