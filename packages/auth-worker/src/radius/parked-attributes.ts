import { randomBytes } from 'node:crypto';
import type { ParkedEntries } from '@countersign/cluster';
import { findParkedEntry, keepParkedEntry, type Database } from '@countersign/database';
import { open, seal, type PurposeKey } from '@countersign/keys';
import { reencryptAttributes, type Attribute } from '@countersign/radius';
import type { Logger } from 'pino';
import type { DatabaseGate } from '../database-gate.ts';
import type { TargetAttributes } from './radius-targets.ts';

export type ParkedAttributesOptions = {
  db: Database;
  gate: DatabaseGate;
  key: PurposeKey;
  /** The cluster's, wherever the node lives now. */
  entries(): Pick<ParkedEntries, 'write' | 'read'>;
  log: Pick<Logger, 'warn'>;
};

export type FoundAttributes =
  | ({ kind: 'found' } & TargetAttributes)
  | { kind: 'absent' }
  | { kind: 'silent' };

const LOG_MS = 700;
const SECRET_BYTES = 32;
const AUTHENTICATOR_BYTES = 16;

/**
 * What a target returned, until its sign-in ends (security rule 6): for every node in the log, and at the node that
 * asked in its PostgreSQL, so that a question can be answered there while the log is away.
 */
export class ParkedAttributes {
  readonly #options: ParkedAttributesOptions;

  constructor(options: ParkedAttributesOptions) {
    this.#options = options;
  }

  /**
   * For the sign-in of this id at this client. Where the log does not take it only this node has it. Throws where what
   * is hidden in them does not open, or PostgreSQL does not answer.
   */
  async park(
    place: { clientId: string; id: string },
    told: TargetAttributes,
    expiresAtMs: number,
  ): Promise<void> {
    const { db, gate, key, entries, log } = this.#options;
    const sealed = seal(key, encode(told), contextOf(place));
    const { id } = place;
    const [, isStored] = await Promise.all([
      gate.pass(() => keepParkedEntry(db, { id, sealed, expiresAtMs })),
      entries().write(id, sealed, LOG_MS),
    ]);
    if (!isStored) log.warn({ id }, 'what a RADIUS target returned is known to this node alone');
  }

  /** `silent`: the log does not say, and this node does not know. What does not open is `absent`. */
  async find(place: { clientId: string; id: string }): Promise<FoundAttributes> {
    const { db, gate, entries } = this.#options;
    const own = await gate.pass(() => findParkedEntry(db, place.id));
    if (own) return this.#open(place, own);
    const read = await entries().read(place.id, LOG_MS);
    return read.kind === 'found' ? this.#open(place, read.bytes) : { kind: read.kind };
  }

  #open(place: { clientId: string; id: string }, sealed: Uint8Array): FoundAttributes {
    try {
      return { kind: 'found', ...decode(open(this.#options.key, sealed, contextOf(place))) };
    } catch {
      return { kind: 'absent' };
    }
  }
}

function contextOf({ clientId, id }: { clientId: string; id: string }): string {
  return `radius attributes|${clientId}|${id}`;
}

/** What is hidden is hidden anew for nobody but the entry itself: the target's secret stays out of it. */
function encode({ attributes, exchange }: TargetAttributes): Buffer {
  const secret = randomBytes(SECRET_BYTES);
  const authenticator = randomBytes(AUTHENTICATOR_BYTES);
  const hidden = reencryptAttributes(attributes, { from: exchange, to: { secret, authenticator } });
  if (!hidden) throw new Error('an attribute of a RADIUS target does not open');
  const pieces = hidden.map(({ type, value }) =>
    Buffer.concat([Buffer.from([type, value.length]), value]),
  );
  return Buffer.concat([secret, authenticator, ...pieces]);
}

function decode(bytes: Buffer): TargetAttributes {
  const head = SECRET_BYTES + AUTHENTICATOR_BYTES;
  const secret = bytes.subarray(0, SECRET_BYTES);
  const exchange = { secret, authenticator: bytes.subarray(SECRET_BYTES, head) };
  const attributes: Attribute[] = [];
  for (let at = head; at < bytes.length;) {
    const end = at + 2 + bytes.readUInt8(at + 1);
    attributes.push({ type: bytes.readUInt8(at), value: bytes.subarray(at + 2, end) });
    at = end;
  }
  return { attributes, exchange };
}
