import { createHash, randomUUID } from 'node:crypto';
import type {
  AdministratorDocument,
  ApiKeyDocument,
  ApplicationDocument,
  DirectoryDocument,
  DirectoryLink,
  DirectorySyncDocument,
  NodeDocument,
  RadiusClientDocument,
  RadiusTargetDocument,
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

export function exampleAdministrator(
  username: string,
  id: string = randomUUID(),
): AdministratorDocument {
  return {
    id,
    username,
    roles: ['owner'],
    disabled: false,
    invitation: { codeHash: '0'.repeat(64), at: AT, by: 'test', expiresAt: AT },
    unlockedAt: null,
    createdAt: AT,
    updatedAt: AT,
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

export function exampleDirectory(name: string, id: string = randomUUID()): DirectoryDocument {
  return {
    id,
    name,
    type: 'active-directory',
    domains: ['CORP', 'corp.test'],
    servers: ['ldaps://dc1.corp.test'],
    startTls: false,
    certificates: { authorities: null, pinned: [], serverName: null },
    account: null,
    baseDn: 'DC=corp,DC=test',
    filters: { container: '(ou=*)', group: '(cn=*)', user: '(cn=*)' },
    attributes: {
      uniqueId: 'objectGUID',
      uniqueIdType: 'guid',
      usernames: ['sAMAccountName'],
      shortName: 'sAMAccountName',
      firstName: null,
      lastName: null,
      displayName: null,
      mail: 'mail',
      description: null,
      language: null,
      group: null,
      phones: {
        business: null,
        home: null,
        mobile: 'mobile',
        pager: null,
        fax: null,
        ip: null,
        custom: null,
      },
      extension: null,
    },
    defaultCountry: 'NL',
    connectMs: 5000,
    answerMs: 30_000,
    pageSize: 500,
    peopleMax: 1000,
    sync: { enabled: true, intervalMinutes: 5, changes: 'auto', fullHours: 24 },
    items: [],
    createdAt: AT,
    updatedAt: AT,
  };
}

/** A user of that directory: CORP\name, name@corp.test and the mail address Name.Surname@corp.test. */
export function exampleDirectoryUser(
  username: string,
  directoryId: string,
  more: Partial<UserDocument> & { link?: Partial<DirectoryLink> } = {},
): UserDocument {
  const { link, ...rest } = more;
  const user = { ...exampleUser(username), ...rest };
  return {
    ...user,
    directory: {
      id: directoryId,
      object: user.id,
      dn: `CN=${username},DC=corp,DC=test`,
      item: null,
      names: [`corp\\${username}`, `${username}@corp.test`],
      mails: [`${username}.mail@corp.test`],
      ...link,
    },
  };
}

export function exampleDirectorySync(id: string): DirectorySyncDocument {
  return {
    id,
    cursor: { kind: 'timestamps', since: '20260301120000Z' },
    basis: null,
    lastFullAt: null,
    last: null,
    taken: [],
    held: null,
  };
}

export function exampleRadiusClient(name: string, id: string = randomUUID()): RadiusClientDocument {
  return {
    id,
    name,
    application: 'vpn',
    enabled: true,
    addresses: ['192.0.2.7', '10.0.0.0/8'],
    sealedSecret: 'c2VhbGVk',
    messageAuthenticator: 'require',
    firstFactor: { kind: 'directory', directories: null },
    canChallenge: true,
    codeLength: 6,
    commaCode: true,
    appendedCode: false,
    callingStation: 'text',
    isBalancer: false,
    waitSeconds: 60,
    replies: [{ group: 'staff', attribute: 'Class', value: 'vpn' }],
    createdAt: AT,
    updatedAt: AT,
  };
}

export function exampleRadiusTarget(name: string, id: string = randomUUID()): RadiusTargetDocument {
  return {
    id,
    name,
    servers: [{ host: '192.0.2.9', port: 1812 }],
    sealedSecret: 'c2VhbGVk',
    messageAuthenticator: 'require',
    timeoutMs: 12_000,
    passAttributes: ['Class'],
    createdAt: AT,
    updatedAt: AT,
  };
}

type Documented =
  | { kind: 'user'; document: UserDocument }
  | { kind: 'settings'; document: SettingsDocument }
  | { kind: 'application'; document: ApplicationDocument }
  | { kind: 'api-key'; document: ApiKeyDocument }
  | { kind: 'administrator'; document: AdministratorDocument }
  | { kind: 'node'; document: NodeDocument }
  | { kind: 'directory'; document: DirectoryDocument }
  | { kind: 'directory-sync'; document: DirectorySyncDocument }
  | { kind: 'radius-client'; document: RadiusClientDocument }
  | { kind: 'radius-target'; document: RadiusTargetDocument };

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
