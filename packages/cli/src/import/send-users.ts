import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.ts';
import type { Session } from '../session.ts';
import type { ImportedUser } from './read-users.ts';

export type Sendable = { line: number; user: ImportedUser };
export type SentUser = Sendable & {
  status: number;
  id?: string;
  authenticators?: { id: string; otpauth?: string }[];
  code?: string;
  detail?: string;
};

const PER_REQUEST = 500;
const MAX_REQUEST_BYTES = 512 * 1024;
const AT_ONCE = 3;
/** How long a request is repeated, with the same Idempotency-Key, while there is no master or its answer is lost. */
const REPEAT_FOR_MS = 60_000;
const REPEAT_AFTER_MS = 500;
const REPEATABLE = new Set(['master_offline', 'busy', 'outcome_unknown', 'not_ready', 'no_answer']);

/**
 * Sends users in requests of up to 500, three at a time, reading no further ahead than that.
 * @throws CliError when a whole request is refused or stays unanswered for a minute
 */
export async function sendUsers(
  session: Session,
  users: AsyncIterable<Sendable>,
  onSent: (sent: SentUser[]) => void,
): Promise<void> {
  const under = new Set<Promise<void>>();
  for await (const request of requestsOf(users)) {
    const one: Promise<void> = sendRequest(session, request).then(onSent);
    under.add(one);
    one.then(
      () => under.delete(one),
      () => undefined,
    );
    // A failed one stays, so that it ends the import here.
    if (under.size >= AT_ONCE) await Promise.race(under);
  }
  await Promise.all(under);
}

async function* requestsOf(users: AsyncIterable<Sendable>): AsyncGenerator<Sendable[]> {
  let request: Sendable[] = [];
  let sizeBytes = 0;
  for await (const each of users) {
    const bytes = Buffer.byteLength(JSON.stringify(each.user)) + 1;
    if (request.length === PER_REQUEST || sizeBytes + bytes > MAX_REQUEST_BYTES) {
      yield request;
      [request, sizeBytes] = [[], 0];
    }
    request.push(each);
    sizeBytes += bytes;
  }
  if (request.length > 0) yield request;
}

/** A repeat changes nothing for those that were added. */
async function sendRequest(session: Session, request: Sendable[]): Promise<SentUser[]> {
  const idempotencyKey = randomUUID();
  const deadline = performance.now() + REPEAT_FOR_MS;
  const body = request.map(({ user }) => user);
  for (;;) {
    const isLast = performance.now() + REPEAT_AFTER_MS >= deadline;
    try {
      const reply = await session.call({
        method: 'POST',
        path: '/api/v1/users/bulk',
        body,
        idempotencyKey,
      });
      const { results } = reply as { results: Omit<SentUser, 'line' | 'user'>[] };
      const sent = request.map((each, index) => ({ ...each, ...results[index]! }));
      if (isLast || sent.every(({ status }) => status !== 503 && status !== 504)) return sent;
    } catch (error) {
      const isRepeatable = error instanceof CliError && REPEATABLE.has(error.code ?? '');
      if (!isRepeatable || isLast) throw error;
    }
    await sleep(REPEAT_AFTER_MS);
  }
}
