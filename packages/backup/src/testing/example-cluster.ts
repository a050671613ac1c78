import { randomUUID } from 'node:crypto';
import { encodeChange, encodeEpochMark } from '@countersign/cluster';
import {
  applyChanges,
  beginAttempts,
  finishAttempts,
  initApplied,
  keepStopFacts,
  migrate,
  openDatabase,
  storeEvents,
  storeUserStates,
  type ChangeKind,
  type Database,
  type ReceivedChange,
} from '@countersign/database';
import { encodeKeyRing, makeGeneration, type KeyRing } from '@countersign/keys';
import { createTestDatabase } from '@countersign/testing';
import { emptyState, type UserDocument, type UserState } from '@countersign/verification';
import { documentSealer } from '../cluster-keys.ts';
import { readCluster, type BackupSource } from '../read-cluster.ts';
import { sealBackup } from '../seal-backup.ts';
import type { SealTo } from '../secrets.ts';
import { writeNewFile } from '../write-new-file.ts';

const AT = '2026-03-01T12:00:00.000Z';

/** Names and secrets that must not be readable in any backup. */
export const planted = {
  username: 'margaret-hamilton',
  mail: 'margaret@apollo.test',
  seed: 'PLANTEDSEEDPLANTEDSEEDPLANTED234',
  keyName: 'the-planted-key',
};

export type ExampleCluster = {
  db: Database;
  keys: KeyRing;
  source: BackupSource;
  users: UserDocument[];
  close(): Promise<void>;
};

export async function openEmptyDatabase(): Promise<Database & { drop(): Promise<void> }> {
  const { drop, ...connection } = await createTestDatabase();
  const db = openDatabase({ ...connection, max: 4, applicationName: 'test' });
  await migrate(db);
  return Object.assign(db, {
    async drop() {
      await db.close();
      await drop();
    },
  });
}

/** A replica as an agent leaves it: encrypted documents, states, a stop fact, a claim that is not merged, events. */
export async function makeExampleCluster(userCount = 3): Promise<ExampleCluster> {
  const generation = makeGeneration(AT);
  const keys: KeyRing = { active: generation.id, generations: [generation] };
  const sealer = documentSealer(keys);
  const db = await openEmptyDatabase();
  const users = Array.from({ length: userCount }, (_, i) => exampleUser(i));
  let revision = 0;
  const change = (kind: ChangeKind, id: string, document: unknown, removed = false) => {
    revision += 1;
    const envelope = { kind, id, revision, epoch: 3, removed, document, commands: [] };
    const about = { format: 1, changeId: randomUUID(), commandId: null, at: AT, actor: 'test' };
    const bytes = encodeChange({ ...envelope, ...about }, sealer);
    return { ...envelope, at: AT, bytes } satisfies ReceivedChange;
  };
  const epoch = (): ReceivedChange => {
    revision += 1;
    const mark = { format: 1, revision, epoch: 3, instance: 'i', node: 'node-1', at: AT };
    return {
      kind: 'epoch',
      id: '3',
      revision,
      epoch: 3,
      at: AT,
      removed: false,
      bytes: encodeEpochMark({ ...mark, index: 128, of: 128 }),
      document: null,
      commands: [],
      epochFirstRevision: 1,
    };
  };
  const goneId = randomUUID();
  await initApplied(db, {
    number: 4,
    id: randomUUID(),
    parent: null,
    baseRevision: 0,
    baseEpoch: 2,
    ancestors: [],
    by: 'node-1',
    disasterAt: null,
  });
  const changes = [
    epoch(),
    change('node', 'node-1', { id: 'node-1', name: 'node-1', addedAt: AT, version: '1.0.0' }),
    ...users.map((user) => change('user', user.id, user)),
    change('api-key', ...apiKey()),
    change('settings', 'lockout', { id: 'lockout', failures: 7 }),
    change('user', goneId, null, true),
  ];
  await applyChanges(db, changes, { changeFormat: 1 });
  await storeUserStates(
    db,
    users.map(({ id }, i) => ({ userId: id, revision: i + 1, state: exampleState(i) })),
    users.length,
  );
  await keepStopFacts(db, [
    {
      id: randomUUID(),
      kind: 'user',
      subject: users[0]!.id,
      reason: 'lost her phone',
      by: 'test',
      node: 'node-2',
      at: AT,
      expiresAt: null,
    },
  ]);
  await leaveClaim(db, users[1]!.id);
  await storeEvents(db, [exampleEvent(users[0]!)], 5);
  return {
    db,
    keys,
    source: {
      node: 'node-1',
      version: '1.2.3',
      clusterId: null,
      readKeys: async () => encodeKeyRing(keys),
      withEvents: true,
    },
    users,
    close: () => db.drop(),
  };
}

function exampleUser(index: number): UserDocument {
  return {
    id: randomUUID(),
    username: index === 0 ? planted.username : `user-${index}`,
    ...(index === 0 && { email: planted.mail }),
    enabled: true,
    blocked:
      index === 2
        ? { reason: 'left', at: AT, by: 'test', expiresAt: '2999-01-01T00:00:00.000Z' }
        : null,
    unlockedAt: null,
    authenticators: [
      {
        type: 'totp',
        id: randomUUID(),
        algorithm: 'SHA1',
        digits: 6,
        // Sealed in a real cluster: here even a slip of that would have to stay unreadable.
        sealedSecret: Buffer.from(planted.seed).toString('base64'),
        periodSeconds: 30,
        createdAt: AT,
      },
    ],
    createdAt: AT,
    updatedAt: AT,
  };
}

function exampleState(index: number): UserState {
  const code = { ...emptyState().methods.code, failures: index };
  return { ...emptyState(), accepted: { 'a-1': [100 + index, 5] }, methods: { code } };
}

function apiKey(): [id: string, document: unknown] {
  const id = randomUUID();
  const document = {
    id,
    name: planted.keyName,
    secretHash: 'ab'.repeat(32),
    scopes: ['verify'],
    applications: null,
    networks: null,
    expiresAt: null,
    createdAt: AT,
  };
  return [id, document];
}

function exampleEvent(user: UserDocument) {
  return {
    id: randomUUID(),
    at: AT,
    type: 'verification',
    node: 'node-1',
    userId: user.id,
    username: user.username,
    actor: null,
    application: null,
    clientAddress: '192.0.2.1',
    result: 'approved',
    reason: null,
    degraded: false,
    durationMs: 12,
    details: {},
    incarnation: 4,
    arrival: 17,
  };
}

async function leaveClaim(db: Database, userId: string): Promise<void> {
  const item = `totp:${randomUUID()}:77`;
  const reservation = { userId, item, attemptId: 'attempt', holder: 'node-1', degraded: true };
  const event = { ...exampleEvent({ id: userId, username: 'user-1' } as UserDocument) };
  await beginAttempts(db, [
    { reservation: { ...reservation, phase: 'asking', claim: null }, event, isFinal: false },
  ]);
  const claim = { id: 'attempt', at: 1, authenticatorId: randomUUID(), last: 77, item };
  await finishAttempts(db, [
    { event, reservation: { ...reservation, outcome: 'approved', degraded: true }, claim },
  ]);
}

/** A backup of an {@link makeExampleCluster} at `path`. */
export async function makeExampleBackup(path: string, to: SealTo): Promise<void> {
  const cluster = await makeExampleCluster();
  try {
    await readCluster(cluster.db, cluster.source, (lines) =>
      writeNewFile(path, sealBackup(lines, to)),
    );
  } finally {
    await cluster.close();
  }
}
