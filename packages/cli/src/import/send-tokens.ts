import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.ts';
import type { Session } from '../session.ts';

export type TokenRequest = {
  format: string;
  content: string;
  password?: string | undefined;
  key?: string | undefined;
  username?: string | undefined;
  awaitsActivation: boolean;
  linesBefore?: number;
};

export type TokenResult = {
  at: number;
  status: number;
  username?: string;
  id?: string;
  code?: string;
  detail?: string;
};

export type TokenReply = { results: TokenResult[]; errorCsv: string | null; notes: string[] };

/** How long a request is repeated, with the same Idempotency-Key, while there is no master or its answer is lost. */
const REPEAT_FOR_MS = 60_000;
const REPEAT_AFTER_MS = 500;
const REPEATABLE = new Set(['master_offline', 'busy', 'outcome_unknown', 'not_ready', 'no_answer']);

/**
 * Sends one request of tokens; a repeat changes nothing for those that were enrolled.
 * @throws CliError when the whole request is refused or stays unanswered for a minute
 */
export async function sendTokens(session: Session, body: TokenRequest): Promise<TokenReply> {
  const idempotencyKey = randomUUID();
  const deadline = performance.now() + REPEAT_FOR_MS;
  const call = { method: 'POST', path: '/api/v1/tokens/import', body, idempotencyKey } as const;
  for (;;) {
    const isLast = performance.now() + REPEAT_AFTER_MS >= deadline;
    try {
      const reply = (await session.call(call)) as TokenReply;
      if (isLast || reply.results.every(({ status }) => status < 500)) return reply;
    } catch (error) {
      const isRepeatable = error instanceof CliError && REPEATABLE.has(error.code ?? '');
      if (!isRepeatable || isLast) throw error;
    }
    await sleep(REPEAT_AFTER_MS);
  }
}
