import { createHash, randomUUID } from 'node:crypto';
import type {
  ApiKeyDocument,
  ApplicationDocument,
  NodeDocument,
  SettingsDocument,
  UserDocument,
} from '@countersign/verification';
import type { AuditEvent } from '../events.ts';
import type { ReceivedChange } from '../apply-changes.ts';

const AT = '2026-03-01T12:00:00.000Z';
export const firstIncarnation = {
  number: 1,
  id: 'a1b2',
  parent: null,
  baseRevision: 0,
  baseEpoch: 0,
  ancestors: [],
  by: null,
  disasterAt: null,
};

export function exampleUser(username: string, id: string = randomUUID()): UserDocument {
  return {
    id,
    username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: AT,
    updatedAt: AT,
  };
}

export function exampleApiKey(secret: string, id: string = randomUUID()): ApiKeyDocument {
  return {
    id,
    name: 'a key',
    secretHash: createHash('sha256').update(secret).digest('hex'),
    scopes: ['verify'],
    applications: null,
    networks: null,
    expiresAt: null,
    createdAt: AT,
  };
}

export function exampleNode(name: string): NodeDocument {
  return { id: name, name, addedAt: AT, version: '1.0.0' };
}

export function exampleApplication(name: string, id: string = randomUUID()): ApplicationDocument {
  return {
    id,
    name,
    enabled: true,
    userMatch: 'require',
    settings: { 'methods.default': 'text' },
    createdAt: AT,
    updatedAt: AT,
  };
}

type Documented =
  | { kind: 'user'; document: UserDocument }
  | { kind: 'settings'; document: SettingsDocument }
  | { kind: 'application'; document: ApplicationDocument }
  | { kind: 'api-key'; document: ApiKeyDocument }
  | { kind: 'node'; document: NodeDocument };

/** A change as it comes from the log; the bytes stand for the encrypted message. */
export function setChange(
  revision: number,
  what: Documented,
  more: Partial<ReceivedChange> = {},
): ReceivedChange {
  const bytes = Buffer.from(`sealed ${revision} ${JSON.stringify(what.document)}`);
  const id = what.document.id;
  return { ...plainChange(revision), ...what, id, bytes, ...more };
}

export function removeChange(
  revision: number,
  kind: ReceivedChange['kind'],
  id: string,
): ReceivedChange {
  return { ...plainChange(revision), kind, id, removed: true };
}

/** The whole run of messages that begins an epoch. */
export function barrier(epoch: number, first: number, length = 128): ReceivedChange[] {
  return Array.from({ length }, (_, index) => ({
    ...plainChange(first + index),
    kind: 'epoch',
    id: String(epoch),
    epoch,
    ...(index === length - 1 ? { epochFirstRevision: first } : {}),
  }));
}

function plainChange(revision: number): ReceivedChange {
  return {
    revision,
    epoch: 1,
    kind: 'probe',
    id: 'probe',
    at: new Date(Date.parse(AT) + revision * 1000).toISOString(),
    removed: false,
    bytes: Buffer.from(`sealed ${revision}`),
    document: null,
    commands: [],
  };
}

export function exampleEvent(more: Partial<AuditEvent> = {}): AuditEvent {
  return {
    id: randomUUID(),
    at: new Date().toISOString(),
    type: 'verification',
    node: 'node-1',
    userId: null,
    username: null,
    actor: null,
    application: 'vpn',
    clientAddress: '192.0.2.7',
    result: null,
    reason: null,
    degraded: false,
    durationMs: 3,
    details: {},
    ...more,
  };
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
