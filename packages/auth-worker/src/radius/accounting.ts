import { createHash } from 'node:crypto';
import {
  findValue,
  packetCodes,
  readAddress,
  readInteger,
  readText,
  type Attribute,
  type AttributeName,
  type Reply,
  type ServerRequest,
} from '@countersign/radius';
import { escapeUntrusted } from '@countersign/verification';
import type { WorkerEvents } from '../events.ts';
import type { Verifier } from '../verifier.ts';
import type { AskingClient } from './handle-access-request.ts';

const DAY_MS = 86_400_000;
/** Of what names no session: as long as a NAS goes on sending one. */
const NO_SESSION_MS = 600_000;
const REMEMBERED_MAX = 10_000;
/** Written by one worker; what is beyond is dropped, and the client sends it again. */
const ALL_TOGETHER = { perSecond: 25, atOnce: 1000 };
/** One that floods leaves the others room. */
const EACH_CLIENT = { perSecond: 10, atOnce: 500 };
const BUDGETS_MAX = 2000;
const TEXT_BYTES_SHOWN = 120;

const STATUSES: Record<number, string> = {
  1: 'start',
  2: 'stop',
  3: 'interim',
  7: 'on',
  8: 'off',
};

/** RFC 2866 §5.10. */
const TERMINATE_CAUSES: Record<number, string> = {
  1: 'user request',
  2: 'lost carrier',
  3: 'lost service',
  4: 'idle timeout',
  5: 'session timeout',
  6: 'admin reset',
  7: 'admin reboot',
  8: 'port error',
  9: 'NAS error',
  10: 'NAS request',
  11: 'NAS reboot',
  12: 'port unneeded',
  13: 'port preempted',
  14: 'port suspended',
  15: 'service unavailable',
  16: 'callback',
  17: 'user error',
  18: 'host request',
};

export type AccountingPorts = {
  events: Pick<WorkerEvents, 'radiusAccounting'>;
  /** Of people who are no users only what events may hold of them comes back. */
  whoIs: Verifier['whoIs'];
};

/** Answers Accounting-Requests once they are recorded: one event for each session and status, on whatever node they arrive. */
export class RadiusAccounting {
  readonly #ports: AccountingPorts;
  /** Recorded lately, oldest first. */
  readonly #taken = new Set<string>();
  readonly #all = new Budget(ALL_TOGETHER);
  readonly #budgets = new Map<string, Budget>();

  constructor(ports: AccountingPorts) {
    this.#ports = ports;
  }

  /** Rejects while nothing can be recorded. */
  async take({ attributes }: ServerRequest, client: AskingClient): Promise<Reply | 'drop'> {
    const status = STATUSES[integer(attributes, 'Acct-Status-Type') ?? 0] ?? 'other';
    const id = idOf(attributes, client, status, Date.now());
    if (!this.#taken.has(id)) {
      if (!this.#budgetOf(client.document.id).spend() || !this.#all.spend()) return 'drop';
      const { events, whoIs } = this.#ports;
      const name = text(attributes, 'User-Name');
      const who = name === undefined ? null : await whoIs(name);
      await events.radiusAccounting(id, { who, ...aboutSession(attributes, client, status) });
      this.#taken.add(id);
      if (this.#taken.size > REMEMBERED_MAX) this.#taken.delete(this.#taken.values().next().value!);
    }
    return { code: packetCodes.accountingResponse, attributes: [] };
  }

  #budgetOf(clientId: string): Budget {
    const known = this.#budgets.get(clientId);
    if (known) return known;
    const made = new Budget(EACH_CLIENT);
    if (this.#budgets.size >= BUDGETS_MAX) this.#budgets.clear();
    this.#budgets.set(clientId, made);
    return made;
  }
}

class Budget {
  readonly #perSecond: number;
  readonly #atOnce: number;
  #left: number;
  #at = performance.now();

  constructor({ perSecond, atOnce }: { perSecond: number; atOnce: number }) {
    this.#perSecond = perSecond;
    this.#atOnce = atOnce;
    this.#left = atOnce;
  }

  spend(): boolean {
    const now = performance.now();
    const earned = ((now - this.#at) / 1000) * this.#perSecond;
    const left = Math.min(this.#atOnce, this.#left + earned);
    this.#left = left >= 1 ? left - 1 : left;
    this.#at = now;
    return left >= 1;
  }
}

function aboutSession(
  attributes: readonly Attribute[],
  { document, recordsAddresses }: AskingClient,
  status: string,
): Omit<Parameters<WorkerEvents['radiusAccounting']>[1], 'who'> {
  const cause = integer(attributes, 'Acct-Terminate-Cause');
  const details = {
    status,
    session: text(attributes, 'Acct-Session-Id'),
    nas:
      text(attributes, 'NAS-Identifier') ??
      address(attributes, 'NAS-IP-Address') ??
      address(attributes, 'NAS-IPv6-Address'),
    ...(recordsAddresses && {
      station:
        document.callingStation === 'ignore' ? undefined : text(attributes, 'Calling-Station-Id'),
      address:
        address(attributes, 'Framed-IP-Address') ?? address(attributes, 'Framed-IPv6-Address'),
    }),
    seconds: integer(attributes, 'Acct-Session-Time'),
    inputBytes: bytesOf(attributes, 'Input'),
    outputBytes: bytesOf(attributes, 'Output'),
    terminateCause: cause === undefined ? undefined : (TERMINATE_CAUSES[cause] ?? cause),
    delaySeconds: integer(attributes, 'Acct-Delay-Time') || undefined,
  };
  return {
    client: document.name,
    application: document.application,
    details: Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined)),
  };
}

/** What is no text in hex. */
function text(attributes: readonly Attribute[], name: AttributeName): string | undefined {
  const value = findValue(attributes, name);
  if (!value) return undefined;
  const found = readText(value);
  if (found !== undefined) return escapeUntrusted(found);
  return `0x${value.subarray(0, TEXT_BYTES_SHOWN).toString('hex')}`;
}

function address(attributes: readonly Attribute[], name: AttributeName): string | undefined {
  const value = findValue(attributes, name);
  return value && readAddress(value);
}

/** Of 64 bits (RFC 2869 §5.1). */
function bytesOf(
  attributes: readonly Attribute[],
  direction: 'Input' | 'Output',
): number | undefined {
  const low = integer(attributes, `Acct-${direction}-Octets`);
  const high = integer(attributes, `Acct-${direction}-Gigawords`) ?? 0;
  return low === undefined ? undefined : high * 2 ** 32 + low;
}

function integer(attributes: readonly Attribute[], name: AttributeName): number | undefined {
  const value = findValue(attributes, name);
  return value && readInteger(value);
}

/**
 * The same on every node (UUIDv8). Clients begin to count sessions anew, so the day belongs to it, and of what names no
 * session, such as a NAS that starts, when it was first sent.
 */
function idOf(
  attributes: readonly Attribute[],
  { document }: AskingClient,
  status: string,
  nowMs: number,
): string {
  const hash = createHash('sha256').update(`radius-accounting\0${document.id}\0${status}\0`);
  const isOfNas = status === 'on' || status === 'off';
  const sentAtMs = nowMs - (integer(attributes, 'Acct-Delay-Time') ?? 0) * 1000;
  const hasSession = !isOfNas && findValue(attributes, 'Acct-Session-Id') !== undefined;
  hash.update(
    `${hasSession ? Math.floor(nowMs / DAY_MS) : Math.floor(sentAtMs / NO_SESSION_MS)}\0`,
  );
  for (const name of [
    'NAS-Identifier',
    'NAS-IP-Address',
    'NAS-IPv6-Address',
    'Acct-Session-Id',
    'User-Name',
  ] as const) {
    const value = findValue(attributes, name) ?? Buffer.alloc(0);
    hash.update(Buffer.from([value.length])).update(value);
  }
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
