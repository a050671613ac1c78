import { createHash } from 'node:crypto';
import {
  findText,
  findValue,
  packetCodes,
  readAddress,
  readInteger,
  type Attribute,
  type Reply,
  type ServerRequest,
} from '@countersign/radius';
import { escapeUntrusted } from '@countersign/verification';
import type { WorkerEvents } from '../events.ts';
import type { AskingClient } from './handle-access-request.ts';

const DAY_MS = 86_400_000;
const REMEMBERED_MAX = 10_000;
/** Written by one worker; what is beyond is dropped, and the client sends it again. */
const EVENTS_PER_SECOND = 50;
const EVENTS_AT_ONCE = 500;

const STATUSES: Record<number, string> = {
  1: 'start',
  2: 'stop',
  3: 'interim',
  7: 'on',
  8: 'off',
};

/** Answers Accounting-Requests once they are recorded: one event for each session and status, on whatever node they arrive. */
export class RadiusAccounting {
  readonly #events: Pick<WorkerEvents, 'radiusAccounting'>;
  /** Recorded lately, oldest first. */
  readonly #taken = new Set<string>();
  #budget = { left: EVENTS_AT_ONCE, at: performance.now() };

  constructor(events: Pick<WorkerEvents, 'radiusAccounting'>) {
    this.#events = events;
  }

  /** Rejects while nothing can be recorded. */
  async take({ attributes }: ServerRequest, client: AskingClient): Promise<Reply | 'drop'> {
    const status = STATUSES[integer(attributes, 'Acct-Status-Type') ?? 0] ?? 'other';
    const id = idOf(attributes, client, status, Date.now());
    if (!this.#taken.has(id)) {
      if (!this.#spend()) return 'drop';
      await this.#events.radiusAccounting(id, aboutSession(attributes, client, status));
      this.#taken.add(id);
      if (this.#taken.size > REMEMBERED_MAX) this.#taken.delete(this.#taken.values().next().value!);
    }
    return { code: packetCodes.accountingResponse, attributes: [] };
  }

  #spend(): boolean {
    const now = performance.now();
    const earned = ((now - this.#budget.at) / 1000) * EVENTS_PER_SECOND;
    const left = Math.min(EVENTS_AT_ONCE, this.#budget.left + earned);
    this.#budget = { left: left >= 1 ? left - 1 : left, at: now };
    return left >= 1;
  }
}

function aboutSession(
  attributes: readonly Attribute[],
  { document }: AskingClient,
  status: string,
): Parameters<WorkerEvents['radiusAccounting']>[1] {
  const address = findValue(attributes, 'NAS-IP-Address');
  const details = {
    status,
    session: text(attributes, 'Acct-Session-Id'),
    nas: text(attributes, 'NAS-Identifier') ?? (address && readAddress(address)),
    station:
      document.callingStation === 'ignore' ? undefined : text(attributes, 'Calling-Station-Id'),
    seconds: integer(attributes, 'Acct-Session-Time'),
    inputBytes: integer(attributes, 'Acct-Input-Octets'),
    outputBytes: integer(attributes, 'Acct-Output-Octets'),
    terminateCause: integer(attributes, 'Acct-Terminate-Cause'),
  };
  return {
    client: document.name,
    application: document.application,
    username: text(attributes, 'User-Name') ?? null,
    details: Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined)),
  };
}

function text(attributes: readonly Attribute[], name: Parameters<typeof findText>[1]) {
  const found = findText(attributes, name);
  return found === undefined ? undefined : escapeUntrusted(found).slice(0, 256);
}

function integer(
  attributes: readonly Attribute[],
  name: Parameters<typeof findValue>[1],
): number | undefined {
  const value = findValue(attributes, name);
  return value && readInteger(value);
}

/** The same on every node (UUIDv8). Clients begin to count sessions anew, so the day belongs to it. */
function idOf(
  attributes: readonly Attribute[],
  { document }: AskingClient,
  status: string,
  nowMs: number,
): string {
  const hash = createHash('sha256').update(`radius-accounting\0${document.id}\0${status}\0`);
  hash.update(`${Math.floor(nowMs / DAY_MS)}\0`);
  for (const name of ['NAS-Identifier', 'NAS-IP-Address', 'Acct-Session-Id'] as const) {
    const value = findValue(attributes, name) ?? Buffer.alloc(0);
    hash.update(Buffer.from([value.length])).update(value);
  }
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
