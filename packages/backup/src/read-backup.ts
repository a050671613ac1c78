import { decodeChange, decodeEpochMark, type Sealer } from '@countersign/cluster';
import {
  hashDocument,
  xorHex,
  type ArrivedEvent,
  type ReceivedChange,
  type Reservation,
} from '@countersign/database';
import type { KeyRing } from '@countersign/keys';
import {
  checkDocument,
  DOCUMENT_KINDS,
  parseState,
  type AdministratorDocument,
  type ApiKeyDocument,
  type DocumentKind,
  type StopFact,
  type UserDocument,
  type UserState,
} from '@countersign/verification';
import { BackupError, damaged } from './backup-error.ts';
import type { BackupLine, Counts, Manifest } from './backup-lines.ts';
import { documentSealer, parseKeys } from './cluster-keys.ts';
import { openBackup } from './open-backup.ts';
import type { OpenWith } from './secrets.ts';

/** Takes what a backup holds, in this order, a batch at a time. */
export type BackupSink = {
  begin(manifest: Manifest, keys: KeyRing): Promise<void>;
  /** Each once; tombstones, epochs and seals too. */
  documents(changes: ReceivedChange[]): Promise<void>;
  userStates(rows: { userId: string; state: UserState }[]): Promise<void>;
  stopFacts(facts: StopFact[]): Promise<void>;
  reservations(rows: Reservation[]): Promise<void>;
  events(events: ArrivedEvent[]): Promise<void>;
};

export type BackupSummary = {
  manifest: Manifest;
  counts: Counts;
  users: number;
  /** What somebody should look at after a restore; the first 1,000 of each. */
  review: { blockedUsers: string[]; apiKeys: string[]; administrators: string[] };
};

const BATCH = 500;
const LISTED_MAX = 1000;
const UNTYPED = new Set<string>(['epoch', 'probe', 'seal']);

/**
 * Reads a whole backup and checks everything in it: that it is authentic and ends where it should, every line, every
 * document opened with the keys in it, counts, and the digest computed anew. Whatever the sink was handed counts only
 * once this resolves.
 * @throws BackupError as {@link openBackup}
 */
export async function readBackup(
  path: string,
  secret: OpenWith,
  sink: Partial<BackupSink> = {},
): Promise<BackupSummary> {
  const { manifest, lines, close } = await openBackup(path, secret);
  try {
    const reading = new Reading(manifest, sink);
    for await (const line of lines) await reading.take(line);
    return await reading.finish();
  } finally {
    close();
  }
}

type Batches = {
  documents: ReceivedChange[];
  userStates: { userId: string; state: UserState }[];
  stopFacts: StopFact[];
  reservations: Reservation[];
  events: ArrivedEvent[];
};

const ORDER = ['documents', 'userStates', 'stopFacts', 'reservations', 'events'] as const;

class Reading {
  readonly #manifest: Manifest;
  readonly #sink: Partial<BackupSink>;
  readonly #counts: Counts = {
    documents: 0,
    userStates: 0,
    stopFacts: 0,
    reservations: 0,
    events: 0,
  };
  readonly #review: BackupSummary['review'] = { blockedUsers: [], apiKeys: [], administrators: [] };
  /** Where in {@link ORDER} it is, and what of that was not handed on yet. */
  #at = 0;
  #rows: unknown[] = [];
  #digest = xorHex([]);
  #users = 0;
  #sealer: Sealer | null = null;
  #told: Counts | null = null;
  #previous = Buffer.alloc(0);

  constructor(manifest: Manifest, sink: Partial<BackupSink>) {
    this.#manifest = manifest;
    this.#sink = sink;
  }

  async take(line: BackupLine): Promise<void> {
    if (this.#told) throw damaged('something follows its end');
    if ('clusterKey' in line) {
      if (this.#sealer) throw damaged('it has two cluster keys');
      const keys = parseKeys(line.clusterKey);
      this.#sealer = documentSealer(keys);
      await this.#sink.begin?.(this.#manifest, keys);
      return;
    }
    if ('manifest' in line || 'failed' in line) throw damaged('a line is in the wrong place');
    if (!this.#sealer) throw damaged('a line stands before its key');
    if ('end' in line) {
      await this.#flush();
      this.#told = line.end;
      return;
    }
    if ('document' in line) {
      await this.#put('documents', this.#readDocument(line.document, this.#sealer));
    } else if ('userState' in line) await this.#put('userStates', readState(line.userState));
    else if ('stopFact' in line) await this.#put('stopFacts', line.stopFact);
    else if ('reservation' in line) {
      await this.#put('reservations', line.reservation as unknown as Reservation);
    } else await this.#put('events', line.event);
  }

  async finish(): Promise<BackupSummary> {
    const told = this.#told;
    if (!told) throw damaged('it is cut off');
    for (const kind of ORDER) {
      if (told[kind] !== this.#counts[kind]) {
        throw damaged(`it holds ${this.#counts[kind]} ${kind}, and should hold ${told[kind]}`);
      }
    }
    if (this.#digest !== this.#manifest.digest) {
      const { revision } = this.#manifest;
      throw damaged(`its documents do not give the digest of revision ${revision}`);
    }
    return {
      manifest: this.#manifest,
      counts: this.#counts,
      users: this.#users,
      review: this.#review,
    };
  }

  async #put<K extends keyof Batches>(kind: K, row: Batches[K][number]): Promise<void> {
    const at = ORDER.indexOf(kind);
    if (at < this.#at) throw damaged('its lines are in the wrong order');
    if (at > this.#at) {
      await this.#flush();
      this.#at = at;
    }
    this.#counts[kind] += 1;
    this.#rows.push(row);
    if (this.#rows.length >= BATCH) await this.#flush();
  }

  async #flush(): Promise<void> {
    const kind = ORDER[this.#at]!;
    const rows = this.#rows;
    this.#rows = [];
    if (rows.length === 0) return;
    await (this.#sink[kind] as ((rows: unknown[]) => Promise<void>) | undefined)?.(rows);
  }

  #readDocument(
    row: Extract<BackupLine, { document: unknown }>['document'],
    sealer: Sealer,
  ): ReceivedChange {
    const [kind, id, revision, epoch, removed, message] = row;
    const place = Buffer.from(`${kind}\0${id}`);
    if (Buffer.compare(place, this.#previous) <= 0)
      throw damaged('its documents are in the wrong order');
    this.#previous = place;
    if (revision > this.#manifest.revision) throw damaged(`a ${kind} is newer than the backup`);
    const envelope = { kind: kind as ReceivedChange['kind'], id, revision, epoch, removed };
    const change = openMessage(envelope, Buffer.from(message, 'utf8'), sealer);
    this.#digest = xorHex([this.#digest, hashDocument(change)]);
    this.#note(change);
    return change;
  }

  #note({ kind, document }: ReceivedChange): void {
    if (document === null) return;
    if (kind === 'api-key') addName(this.#review.apiKeys, (document as ApiKeyDocument).name);
    if (kind === 'administrator') {
      const { username, roles, disabled } = document as AdministratorDocument;
      const how = disabled ? 'disabled' : roles.join(', ');
      addName(this.#review.administrators, `${username} (${how})`);
    }
    if (kind !== 'user') return;
    const { username, blocked, removedAt } = document as UserDocument;
    if (removedAt) return;
    this.#users += 1;
    const isBlocked = blocked && Date.parse(blocked.expiresAt) > Date.now();
    if (isBlocked) addName(this.#review.blockedUsers, username);
  }
}

function openMessage(
  envelope: Pick<ReceivedChange, 'kind' | 'id' | 'revision' | 'epoch' | 'removed'>,
  bytes: Buffer,
  sealer: Sealer,
): ReceivedChange {
  const { kind, id, revision, epoch, removed } = envelope;
  const isTyped = !UNTYPED.has(kind) && !removed;
  if (isTyped && !DOCUMENT_KINDS.includes(kind as DocumentKind)) {
    const what = `the backup holds documents of the kind ${kind}, which this version does not know`;
    throw new BackupError('newer', `${what}: use the version that made it, or a newer one`);
  }
  try {
    if (kind === 'epoch') {
      const { at } = decodeEpochMark(bytes);
      return { ...envelope, at, bytes, document: null, commands: [] };
    }
    const change = decodeChange(bytes, sealer);
    const isSame =
      change.kind === kind &&
      change.id === id &&
      change.revision === revision &&
      change.epoch === epoch &&
      change.removed === removed;
    if (!isSame) throw new Error('it says it is another');
    const document = isTyped ? checkDocument(kind as DocumentKind, change.document) : null;
    return { ...envelope, at: change.at, bytes, document, commands: change.commands };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw damaged(`its ${kind} ${id} cannot be used: ${why}`, cause);
  }
}

function readState([userId, state]: [string, Record<string, unknown>]): {
  userId: string;
  state: UserState;
} {
  try {
    return { userId, state: parseState(Buffer.from(JSON.stringify(state))) };
  } catch (cause) {
    throw damaged(`the state of user ${userId} cannot be used`, cause);
  }
}

function addName(names: string[], name: string): void {
  if (names.length < LISTED_MAX) names.push(name);
}
