import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { generationsOf, keyedHash, type GenerationKey, type PurposeKey } from '@countersign/keys';
import {
  FRONT_DOORS,
  METHOD_TABLE,
  type DenialReason,
  type FrontDoor,
  type Method,
  type MethodRow,
} from '@countersign/verification';

export const CHALLENGE_PURPOSES = ['sign-in', 'enrol', 'step-up', 'cookie'] as const;
export type ChallengePurpose = (typeof CHALLENGE_PURPOSES)[number];

/** What an answer must agree with. */
export type ChallengeBinding = {
  purpose: ChallengePurpose;
  door: FrontDoor;
  clientId: string;
  application: string | null;
  /** NAS-Identifier and Calling-Station-Id, where the front door has them. */
  station: string;
  incarnation: { number: number; id: string };
};

export type Challenge = ChallengeBinding & {
  id: string;
  userId: string;
  row: MethodRow;
  /** By what the first factor was proven, and when; null: not by this server. */
  firstFactor: { target: string; at: number } | null;
  /** The code that was sent; null: none was. */
  code: string | null;
  issuedAt: number;
  expiresAt: number;
};

/** What an opened challenge still knows: of most of it only hashes. */
export type OpenedChallenge = {
  id: string;
  userId: string;
  row: MethodRow & { method: Method };
  /** When the first factor was proven to this server; null: it was not. */
  firstFactorAt: number | null;
  issuedAt: number;
  expiresAt: number;
  isSentCode(code: string): boolean;
};

export type Opening =
  | { kind: 'opened'; challenge: OpenedChallenge }
  | { kind: 'refused'; reason: DenialReason };

/** A sealed challenge is no longer. */
export const CHALLENGE_MAX_BYTES = 160;
const VERSION = 1;
const DAY_MS = 86_400_000;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 3;
const HASH_BYTES = 8;
const CODE_HASH_BYTES = 16;
const ID_BYTES = 16;
const BODY_BYTES = 4 + HASH_BYTES * 5 + CODE_HASH_BYTES + ID_BYTES * 2 + 4 * 4;

/**
 * Seals a question into what its answer must bring back: nothing is stored. AES-256-GCM under a key of its own for
 * each purpose and day; base64url of 139 bytes.
 */
export function sealChallenge(key: GenerationKey, challenge: Challenge): string {
  const { purpose, id, code, firstFactor } = challenge;
  const body = new Writer(BODY_BYTES);
  body.byte(CHALLENGE_PURPOSES.indexOf(purpose));
  body.byte(FRONT_DOORS.indexOf(challenge.door));
  body.byte(METHOD_TABLE.indexOf(challenge.row));
  body.byte(firstFactor ? 1 : 0);
  body.bytes(hashOf(key, 'client', challenge.clientId));
  body.bytes(hashOf(key, 'application', challenge.application ?? ''));
  body.bytes(hashOf(key, 'station', challenge.station));
  body.bytes(hashOf(key, 'incarnation', challenge.incarnation.id));
  body.bytes(hashOf(key, 'target', firstFactor?.target ?? ''));
  body.seconds(firstFactor?.at ?? 0);
  body.bytes(code === null ? Buffer.alloc(CODE_HASH_BYTES) : codeHash(key, id, code));
  body.bytes(uuidBytes(id));
  body.bytes(uuidBytes(challenge.userId));
  body.seconds(challenge.issuedAt);
  body.seconds(challenge.expiresAt);
  body.number(challenge.incarnation.number);

  const head = Buffer.alloc(HEAD_BYTES);
  const day = Math.floor(challenge.issuedAt / DAY_MS);
  head.writeUInt8(VERSION, 0);
  head.writeUInt16BE(day, 1);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyOfDay(key, purpose, day), nonce);
  cipher.setAAD(head);
  const sealed = Buffer.concat([cipher.update(body.buffer), cipher.final()]);
  return Buffer.concat([head, nonce, sealed, cipher.getAuthTag()]).toString('base64url');
}

/**
 * Opens a challenge and compares all it is bound to. Whether it is over is for the rules to judge: an answer that was
 * lost is told again for a while.
 */
export function openChallenge(
  keys: PurposeKey,
  sealed: string,
  expected: ChallengeBinding & { id: string },
): Opening {
  const decrypted = decrypt(keys, sealed, expected.purpose);
  if (decrypted === 'other purpose') return refused('challenge_purpose');
  if (decrypted === null) return refused('challenge_damaged');
  const { key, body } = decrypted;
  const read = new Reader(body);
  const purpose = CHALLENGE_PURPOSES[read.byte()];
  const door = FRONT_DOORS[read.byte()];
  const row = METHOD_TABLE[read.byte()];
  const hasFirstFactor = read.byte() === 1;
  const hashes = {
    client: read.bytes(HASH_BYTES),
    application: read.bytes(HASH_BYTES),
    station: read.bytes(HASH_BYTES),
    incarnation: read.bytes(HASH_BYTES),
  };
  read.bytes(HASH_BYTES);
  const firstFactorAt = read.seconds();
  const sentHash = read.bytes(CODE_HASH_BYTES);
  const id = uuidText(read.bytes(ID_BYTES));
  const userId = uuidText(read.bytes(ID_BYTES));
  const issuedAt = read.seconds();
  const expiresAt = read.seconds();
  const incarnationNumber = read.number();
  const is = (hash: Buffer, what: string, text: string) =>
    timingSafeEqual(hash, hashOf(key, what, text));

  if (purpose !== expected.purpose) return refused('challenge_purpose');
  if (!row || !door || id !== expected.id) return refused('challenge_damaged');
  if (door !== expected.door) return refused('challenge_front_door');
  if (!is(hashes.client, 'client', expected.clientId)) return refused('challenge_client');
  if (!is(hashes.station, 'station', expected.station)) return refused('challenge_client');
  if (!is(hashes.application, 'application', expected.application ?? '')) {
    return refused('challenge_application');
  }
  const { incarnation } = expected;
  if (
    incarnationNumber !== incarnation.number ||
    !is(hashes.incarnation, 'incarnation', incarnation.id)
  ) {
    return refused('challenge_incarnation');
  }
  return {
    kind: 'opened',
    challenge: {
      id,
      userId,
      row: row as OpenedChallenge['row'],
      firstFactorAt: hasFirstFactor ? firstFactorAt : null,
      issuedAt,
      expiresAt,
      isSentCode: (code) =>
        !sentHash.equals(Buffer.alloc(CODE_HASH_BYTES)) &&
        timingSafeEqual(sentHash, codeHash(key, id, code)),
    },
  };
}

function refused(reason: DenialReason): Opening {
  return { kind: 'refused', reason };
}

/** With the generation of the key that it opens under: there is no room in it to name one. */
function decrypt(
  keys: PurposeKey,
  text: string,
  purpose: ChallengePurpose,
): { key: GenerationKey; body: Buffer } | 'other purpose' | null {
  const sealed = Buffer.from(text, 'base64url');
  const isWhole =
    sealed.length === HEAD_BYTES + NONCE_BYTES + BODY_BYTES + TAG_BYTES &&
    sealed.toString('base64url') === text &&
    sealed[0] === VERSION;
  if (!isWhole) return null;
  const generations = generationsOf(keys);
  for (const key of generations) {
    const body = decryptAs(key, sealed, purpose);
    if (body) return { key, body };
  }
  const others = CHALLENGE_PURPOSES.filter((other) => other !== purpose);
  const isOther = generations.some((key) => others.some((other) => decryptAs(key, sealed, other)));
  return isOther ? 'other purpose' : null;
}

function decryptAs(key: GenerationKey, sealed: Buffer, purpose: ChallengePurpose): Buffer | null {
  const head = sealed.subarray(0, HEAD_BYTES);
  const nonce = sealed.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES);
  const body = sealed.subarray(HEAD_BYTES + NONCE_BYTES, -TAG_BYTES);
  const day = head.readUInt16BE(1);
  const decipher = createDecipheriv('aes-256-gcm', keyOfDay(key, purpose, day), nonce);
  decipher.setAAD(head).setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    return null;
  }
}

const DAY_KEYS_MAX = 16;
const dayKeys = new Map<string, Buffer>();

/** One key for each purpose and day, so that what is sealed under one says nothing of another. */
function keyOfDay({ keyId, key }: GenerationKey, purpose: ChallengePurpose, day: number): Buffer {
  const name = `${keyId} ${purpose} ${day}`;
  const known = dayKeys.get(name);
  if (known) return known;
  const made = Buffer.from(
    hkdfSync('sha256', key, 'countersign', `challenge/${purpose}/${day}`, 32),
  );
  if (dayKeys.size >= DAY_KEYS_MAX) dayKeys.clear();
  dayKeys.set(name, made);
  return made;
}

function hashOf(key: GenerationKey, what: string, text: string): Buffer {
  return keyedHash(key, what, text).subarray(0, HASH_BYTES);
}

function codeHash(key: GenerationKey, id: string, code: string): Buffer {
  return keyedHash(key, 'code', id, code).subarray(0, CODE_HASH_BYTES);
}

function uuidBytes(id: string): Buffer {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [8, 12, 16, 20, 32]
    .map((end, index) => hex.slice([0, 8, 12, 16, 20][index], end))
    .join('-');
}

class Writer {
  readonly buffer: Buffer;
  #at = 0;

  constructor(sizeBytes: number) {
    this.buffer = Buffer.alloc(sizeBytes);
  }

  byte(value: number): void {
    this.#at = this.buffer.writeUInt8(value, this.#at);
  }

  number(value: number): void {
    this.#at = this.buffer.writeUInt32BE(value, this.#at);
  }

  seconds(unixMs: number): void {
    this.number(Math.floor(unixMs / 1000));
  }

  bytes(value: Buffer): void {
    this.#at += value.copy(this.buffer, this.#at);
  }
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  byte(): number {
    return this.#buffer[this.#at++]!;
  }

  number(): number {
    const value = this.#buffer.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  /** Unix ms. */
  seconds(): number {
    return this.number() * 1000;
  }

  bytes(count: number): Buffer {
    const value = this.#buffer.subarray(this.#at, this.#at + count);
    this.#at += count;
    return value;
  }
}
