import { appendFileSync } from 'node:fs';
import { usernameKey } from '@countersign/verification';
import type { Attempt, Fault, HistoryRecord, Write } from './records.ts';

export type RecordedRequest = {
  node: string;
  method: string;
  path: string;
  body?: object | undefined;
  idempotencyKey?: string | undefined;
};

type Answer = { status: number; body: object };
/** What became of a request: the answer, or why there was none. */
type Ending = Answer | { broke: unknown } | 'abandoned';

const USER_PATH = /^\/api\/v1\/users(?:\/([^/]+))?(\/.+)?$/;

/** What a cluster's clients and its tormentors did and saw, kept in memory and in a file of JSON lines. */
export class History {
  readonly file: string;
  readonly records: HistoryRecord[] = [];
  readonly #open = new Set<Fault>();
  /** (user, code) → what the code was made of; the newest where two counters give the same digits. */
  readonly #issued = new Map<string, string>();
  #clients = 0;

  constructor(file: string) {
    this.file = file;
  }

  newClient(): number {
    this.#clients += 1;
    return this.#clients;
  }

  /** A token of that user shows this code now. */
  noteIssued(username: string, code: string, item: string): void {
    this.#issued.set(`${usernameKey(username)} ${code}`, item);
  }

  /** Call the returned function when the request has ended. Requests that judge and change nothing are not kept. */
  begin(client: number, request: RecordedRequest): (ending: Ending) => void {
    const from = now();
    const attempt = this.#asAttempt(client, request, from);
    if (attempt) return (ending) => this.#add(endAttempt(attempt, ending));
    const writes = asWrites(client, request, from);
    return (ending) => {
      for (const [i, write] of writes.entries()) this.#add(endWrite(write, endingOfOne(ending, i)));
    };
  }

  /** Kept as open until `end` is called or everything is whole again. */
  beginFault(
    what: string,
    about: { nodes: string[] } & Partial<Pick<Fault, 'cannotVerify' | 'sides' | 'hasQuorum'>>,
  ): { end(): void } {
    const fault: Fault = {
      kind: 'fault',
      what,
      from: now(),
      to: null,
      cannotVerify: [],
      sides: null,
      hasQuorum: true,
      ...about,
    };
    this.#open.add(fault);
    this.records.push(fault);
    return { end: () => this.#endFault(fault) };
  }

  /** Everything was seen to be whole: no fault is open any more. */
  endFaults(): void {
    for (const fault of this.#open) this.#endFault(fault);
  }

  #endFault(fault: Fault): void {
    if (!this.#open.delete(fault)) return;
    fault.to = now();
    this.#store(fault);
  }

  #asAttempt(client: number, request: RecordedRequest, from: number): Attempt | null {
    const { node, method, path, body, idempotencyKey } = request;
    if (method !== 'POST' || path !== '/api/v1/verifications' || !body) return null;
    const { username, code } = body as { username: string; code: string };
    return {
      kind: 'attempt',
      client,
      node,
      username: usernameKey(username),
      item: this.#issued.get(`${usernameKey(username)} ${code}`) ?? 'not issued',
      idempotencyKey: idempotencyKey ?? null,
      from,
      to: from,
      verdict: 'unknown',
      id: null,
      reason: null,
      degraded: false,
    };
  }

  #add(record: Attempt | Write): void {
    this.records.push(record);
    this.#store(record);
  }

  #store(record: HistoryRecord): void {
    appendFileSync(this.file, `${JSON.stringify(record)}\n`);
  }
}

/** Monotonic, in wall-clock milliseconds. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Many users in one request are as many writes, each with an outcome of its own. */
function asWrites(client: number, request: RecordedRequest, from: number): Write[] {
  const { body, idempotencyKey } = request;
  const path = '/api/v1/users';
  if (request.path !== `${path}/bulk` || !Array.isArray(body)) {
    return [asWrite(client, request, from)].filter((write) => write !== null);
  }
  return (body as object[]).flatMap((one, i) => {
    const key = idempotencyKey === undefined ? undefined : `${idempotencyKey} ${i}`;
    return asWrite(client, { ...request, path, body: one, idempotencyKey: key }, from) ?? [];
  });
}

function endingOfOne(ending: Ending, index: number): Ending {
  if (ending === 'abandoned' || 'broke' in ending || ending.status !== 200) return ending;
  const { results } = ending.body as { results?: { status: number }[] };
  const own = results?.[index];
  return own ? { status: own.status, body: own } : ending;
}

function asWrite(client: number, request: RecordedRequest, from: number): Write | null {
  const { node, method, path, body, idempotencyKey } = request;
  const [isUser, inPath, rest] = USER_PATH.exec(path) ?? [];
  if (isUser === undefined || method === 'GET') return null;
  if (method === 'POST' && inPath !== undefined && rest === undefined) return null;
  const { authenticators: _, ...content } = { ...body } as Record<string, unknown>;
  const username = inPath === undefined ? content.username : decodeURIComponent(inPath);
  if (typeof username !== 'string') return null;
  return {
    kind: 'write',
    client,
    node,
    username: usernameKey(username),
    action: rest === undefined ? actionOf(method, content) : 'other',
    content: rest === undefined ? content : {},
    idempotencyKey: idempotencyKey ?? null,
    from,
    to: from,
    outcome: 'unknown',
    revision: null,
    code: null,
  };
}

function actionOf(method: string, content: Record<string, unknown>): Write['action'] {
  if (method === 'POST') return 'add';
  if (method === 'DELETE') return 'remove';
  return 'username' in content ? 'rename' : 'set';
}

function endAttempt(attempt: Attempt, ending: Ending): Attempt {
  const to = now();
  if (ending === 'abandoned') return { ...attempt, to, verdict: 'abandoned' };
  if ('broke' in ending) return { ...attempt, to, reason: String(ending.broke) };
  const { status } = ending;
  const body = ending.body as { status: string; id: string; reason?: string; degraded: boolean };
  if (status !== 200) return { ...attempt, to, verdict: 'refused', reason: codeOf(ending) };
  return {
    ...attempt,
    to,
    verdict: body.status === 'approved' ? 'approved' : 'denied',
    id: body.id,
    reason: body.reason ?? null,
    degraded: body.degraded,
  };
}

/** Certainly not done: the master or the API said no (4xx), or nobody was there to do it (503). */
function endWrite(write: Write, ending: Ending): Write {
  const to = now();
  if (ending === 'abandoned') return { ...write, to };
  if ('broke' in ending) return { ...write, to, code: String(ending.broke) };
  const { status, body } = ending;
  if (status < 300) {
    const { revision } = body as { revision?: number };
    return { ...write, to, outcome: 'acknowledged', revision: revision ?? null };
  }
  const isRefused = status < 500 || status === 503;
  return { ...write, to, outcome: isRefused ? 'refused' : 'unknown', code: codeOf(ending) };
}

function codeOf({ status, body }: Answer): string {
  const { code = '' } = body as { code?: string };
  return `${status} ${code}`.trim();
}
