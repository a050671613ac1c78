import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ensureStreams,
  namesOf,
  NatsLink,
  ParkedEntries,
  UserStates,
  type Log,
} from '@countersign/cluster';
import { makeMembers, makeSigner } from '@countersign/cluster/testing';
import {
  applyChanges,
  initApplied,
  migrate,
  storeUserStates,
  openDatabase,
  type Database,
} from '@countersign/database';
import { seal, type PurposeKey } from '@countersign/keys';
import { seedContext } from '@countersign/operations';
import { parseState } from '@countersign/verification';
import type {
  AdministratorDocument,
  ApplicationDocument,
  DirectoryDocument,
  RadiusClientDocument,
  RadiusTargetDocument,
  UserDocument,
} from '@countersign/verification';
import { afterAll, beforeAll } from 'vitest';
import { createTestDatabase, startTestNats, waitFor } from '@countersign/testing';

export const silent: Log = { info() {}, warn() {} };

const NODES = ['node-1', 'node-2'];
const limits = { changesBytes: 1 << 20, statesBytes: 4 << 20, eventsBytes: 1 << 20 };
const incarnation = {
  number: 1,
  id: randomUUID(),
  parent: null,
  baseRevision: 0,
  baseEpoch: 0,
  ancestors: [],
  by: null,
  disasterAt: null,
};

const PATIENT_MS = 15_000;

/** They are waited for though a server stands still for seconds: tests of the product's deadlines bring their own. */
export class PatientStates extends UserStates {
  override write(userId: string, bytes: Uint8Array, expectedRevision: number) {
    return super.write(userId, bytes, expectedRevision, PATIENT_MS);
  }

  override readThroughLeader(userId: string) {
    return super.readThroughLeader(userId, PATIENT_MS);
  }

  override readDirect(userId: string) {
    return super.readDirect(userId, PATIENT_MS);
  }
}

/** The same of what is parked. */
export class PatientParkedEntries extends ParkedEntries {
  override write(id: string, bytes: Uint8Array) {
    return super.write(id, bytes, PATIENT_MS);
  }

  override read(id: string) {
    return super.read(id, PATIENT_MS);
  }
}

/**
 * A real nats-server with a bucket of user states, and a node's real PostgreSQL, for one test file. The server is
 * secured: what is tried over `link` is what a worker of node-1 may do.
 */
export function useTestStates() {
  const closing: (() => Promise<unknown>)[] = [];
  let link: NatsLink;
  let otherLink: NatsLink;
  let agentLink: NatsLink;
  let db: Database;
  let revision = 0;

  async function createStreams(): Promise<void> {
    const create = () => ensureStreams(agentLink, namesOf(1), { logReplicas: 1, limits });
    await waitFor('the streams', () => create().then(() => true), { timeoutMs: 15_000 });
  }

  /** As if from the log. */
  async function apply(
    change:
      | { kind: 'user'; document: UserDocument }
      | { kind: 'administrator'; document: AdministratorDocument }
      | { kind: 'application'; document: ApplicationDocument }
      | { kind: 'directory'; document: DirectoryDocument }
      | { kind: 'radius-client'; document: RadiusClientDocument }
      | { kind: 'radius-target'; document: RadiusTargetDocument },
  ): Promise<void> {
    const { id, updatedAt: at } = change.document;
    revision += 1;
    const bytes = Buffer.from(id);
    const position = { revision, epoch: 1, id, at, removed: false as const, bytes, commands: [] };
    await applyChanges(db, [{ ...position, ...change }]);
  }

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-states-'));
    closing.push(() => rm(folder, { recursive: true }));
    const files = (await makeMembers(folder, ['node-1']))['node-1'];
    const agent = makeSigner('node-1', 'agent', files);
    const workers = NODES.map((node) => makeSigner(node, 'worker', files));
    const users = [agent, ...workers].map(({ user }) => user);
    const nats = await startTestNats({
      servers: 1,
      access: () => ({ ...files, users, routeKeys: [] }),
    });
    closing.push(() => nats.stop());
    const servers = nats.urls.map((url) => url.replace('nats://', ''));
    const about = { servers, name: 'test', log: silent };
    const links = workers.map(({ signIn }) => new NatsLink({ ...signIn, ...about }));
    [link, otherLink] = links as [NatsLink, NatsLink];
    agentLink = new NatsLink({ ...agent.signIn, ...about });
    await createStreams();
    const { drop, ...connection } = await createTestDatabase();
    db = openDatabase({ ...connection, max: 6, applicationName: 'test' });
    closing.push(
      drop,
      () => db.close(),
      () => link.close(),
      () => otherLink.close(),
      () => agentLink.close(),
    );
    await migrate(db);
    await initApplied(db, incarnation);
  }, 60_000);

  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
  });

  return {
    db: () => db,
    link: () => link,
    /** The same for node-2. */
    otherLink: () => otherLink,
    /** For what only the agent of node-1 may do. */
    agentLink: () => agentLink,
    states: (): UserStates => new PatientStates(link, 1),
    apply,
    /** Runs at the end, before what was opened earlier is closed. */
    atEnd: (close: () => Promise<unknown>) => void closing.push(close),
    /** Copies states into PostgreSQL as they come, as an agent does. */
    followStates(): void {
      const ended = new AbortController();
      let position = 0;
      const following = new UserStates(agentLink, 1).follow({
        nextSequence: () => position + 1,
        signal: ended.signal,
        log: silent,
        async onStates(newest, last) {
          const rows = newest.map(({ userId, revision: of, bytes }) => {
            return { userId, revision: of, state: bytes && parseState(bytes) };
          });
          await storeUserStates(db, rows, last);
          position = last;
        },
      });
      closing.push(() => {
        ended.abort();
        return following;
      });
    },
    /** What remains when all log servers have lost their storage. */
    async loseAllStates(): Promise<void> {
      const verb = `$JS.API.STREAM.DELETE.${namesOf(1).states}`;
      await agentLink.request(verb, '', { timeoutMs: PATIENT_MS });
      await createStreams();
    },
    /** A user with one HOTP authenticator, as if applied from the log. */
    async addUser(
      seedKey: PurposeKey,
      secret: Uint8Array,
      fields: (id: string) => Promise<Partial<UserDocument>> = async () => ({}),
    ): Promise<UserDocument> {
      const at = new Date().toISOString();
      const id = randomUUID();
      const authenticatorId = randomUUID();
      const sealed = seal(seedKey, secret, seedContext(authenticatorId));
      const document: UserDocument = {
        id,
        username: `user-${revision}`,
        enabled: true,
        blocked: null,
        unlockedAt: null,
        authenticators: [
          {
            type: 'hotp',
            id: authenticatorId,
            algorithm: 'SHA1',
            digits: 6,
            sealedSecret: Buffer.from(sealed).toString('base64'),
            createdAt: at,
            initialCounter: 0,
          },
        ],
        createdAt: at,
        updatedAt: at,
        ...(await fields(id)),
      };
      await apply({ kind: 'user', document });
      return document;
    },
    addDirectory: (document: DirectoryDocument) => apply({ kind: 'directory', document }),
    addRadiusClient: (document: RadiusClientDocument) => apply({ kind: 'radius-client', document }),
    addRadiusTarget: (document: RadiusTargetDocument) => apply({ kind: 'radius-target', document }),
    changeUser: (document: UserDocument) => apply({ kind: 'user', document }),
    /** With settings of its own, by dotted name. */
    async addApplication(
      name: string,
      settings: ApplicationDocument['settings'],
      userMatch: ApplicationDocument['userMatch'] = 'require',
      enabled = true,
    ): Promise<void> {
      const at = new Date().toISOString();
      const fields = { enabled, userMatch, settings };
      const document = { id: randomUUID(), name, ...fields, createdAt: at, updatedAt: at };
      await apply({ kind: 'application', document });
    },
  };
}
