import {
  refuseToken,
  TokenFileError,
  writeErrorCsv,
  type ImportedToken,
  type PlacedToken,
  type RefusedToken,
} from '@countersign/token-files';
import { encodeBase32 } from '@countersign/verification';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import type { ApiPorts, CommandReply } from '../ports.ts';
import { invalidRequest, ProblemError } from '../problem.ts';
import { readTokenFile, type TokenFile, type TokenRows } from '../read-token-file.ts';
import { COMMAND_TIMEOUT_MS, idempotencyKeyOf } from '../run-command.ts';
import { noQuery, problemReply, username, writeReply } from '../schemas.ts';

const TOKENS_MAX = 200;
const CONTENT_MAX_CHARS = 512 * 1024;
const AT_ONCE = 16;
/** What was not begun by then is left for a repeat of the request. */
const BEGIN_WITHIN_MS = 15_000;
const REQUESTS_AT_ONCE = 2;

const HEX_KEY = /^(?:[0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})$/i;

const body = z.strictObject({
  format: z.enum(['csv', 'pskc', 'otpauth']),
  content: z.string().min(1).max(CONTENT_MAX_CHARS),
  /** Of an encrypted PSKC file: one of these two, the key in hex. */
  password: z.string().min(1).max(1024).optional(),
  key: z
    .string()
    .refine((text) => HEX_KEY.test(text), 'must be 16, 24 or 32 bytes in hex')
    .optional(),
  /** Whose the tokens are that name no user. */
  username: username.optional(),
  /** False: they verify at once, without an activation by a code. */
  awaitsActivation: z.boolean().default(true),
  /** Lines of the file before this part of it. */
  linesBefore: z.int().min(0).max(10_000_000).default(0),
});
type Body = z.output<typeof body>;

const result = z.object({
  /** Line of the file, or the how manieth key it is. */
  at: z.int(),
  status: z.int(),
  username: z.string().optional(),
  id: z.string().optional(),
  code: z.string().optional(),
  detail: z.string().optional(),
});
type Result = z.output<typeof result>;

/** Outcome of one row, with the revision where it has one. */
type Row = { result: Result; refused: RefusedToken | null; revision: number; applied: boolean };

export function importTokens(api: ApiServer, ports: ApiPorts): void {
  let requests = 0;
  api.post(
    '/api/v1/tokens/import',
    {
      config: { access: { scope: 'users:write' } },
      bodyLimit: 2 * CONTENT_MAX_CHARS,
      schema: {
        summary: 'Enrol up to 200 tokens of a file, each by itself: one result for each',
        description:
          'A repeat with the same Idempotency-Key gets the first results of those that were enrolled and tries the others again. `errorCsv` holds those that were refused, with masked secrets.',
        tags: ['authenticators'],
        querystring: noQuery,
        body,
        response: {
          200: z.object({
            results: z.array(result),
            errorCsv: z.string().nullable(),
            notes: z.array(z.string()),
            ...writeReply,
          }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      if (requests >= REQUESTS_AT_ONCE) {
        throw new ProblemError(503, 'busy', 'Other imports are under way on this node.');
      }
      requests += 1;
      try {
        const file = await read(request.body);
        const rows = await enrollAll(ports, request, file.tokens, request.body);
        return replyTo(file, rows);
      } finally {
        requests -= 1;
      }
    },
  );
}

async function read({ key, linesBefore, ...file }: Body): Promise<TokenRows> {
  const preSharedKey = key === undefined ? undefined : Buffer.from(key, 'hex');
  const rows = await readOrRefuse({ ...file, preSharedKey });
  if (rows.tokens.length + rows.refused.length > TOKENS_MAX) {
    throw invalidRequest(`content: at most ${TOKENS_MAX} tokens are taken in one request`);
  }
  if (rows.place === 'key') return rows;
  const later = <T extends { at: number }>(one: T): T => ({ ...one, at: one.at + linesBefore });
  return { ...rows, tokens: rows.tokens.map(later), refused: rows.refused.map(later) };
}

async function readOrRefuse(file: TokenFile): Promise<TokenRows> {
  try {
    return await readTokenFile(file);
  } catch (error) {
    if (error instanceof TokenFileError) throw invalidRequest(`content: ${error.message}`);
    throw error;
  }
}

/** At most 16 at once; the first that finds no master is the last that is tried. */
async function enrollAll(
  ports: ApiPorts,
  request: FastifyRequest,
  tokens: PlacedToken[],
  options: Body,
): Promise<Row[]> {
  const deadline = performance.now() + BEGIN_WITHIN_MS;
  const rows: Row[] = [];
  let next = 0;
  let isOver = false;
  const work = async () => {
    for (let index = next; index < tokens.length; index = next) {
      next += 1;
      const placed = tokens[index]!;
      const mayBegin = !isOver && performance.now() < deadline;
      const reply = mayBegin ? await enroll(ports, request, placed, options) : NOT_RUN;
      if (reply.kind === 'master_offline') isOver = true;
      rows[index] = rowOf(placed, options, reply);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return rows;
}

type Outcome = CommandReply | { kind: 'not_run' };
const NOT_RUN: Outcome = { kind: 'not_run' };

async function enroll(
  ports: ApiPorts,
  request: FastifyRequest,
  { at, token }: PlacedToken,
  options: Body,
): Promise<Outcome> {
  const owner = token.username ?? options.username;
  if (owner === undefined) return refused('names no user');
  if (token.expiresAt !== undefined && Date.parse(token.expiresAt) <= Date.now()) {
    return refused('has expired, says its maker');
  }
  const key = idempotencyKeyOf(request);
  return ports.runCommand({
    name: 'authenticator.enroll',
    args: argsOf(token, owner, options.awaitsActivation),
    caller: callerOf(request),
    // With a space, which no key of a request has: each row is a command of its own.
    idempotencyKey: key === null ? null : `${key} ${at}`,
    timeoutMs: COMMAND_TIMEOUT_MS,
  });
}

function argsOf(token: ImportedToken, owner: string, awaitsActivation: boolean) {
  const { secret, algorithm, digits, serial, manufacturer, model } = token;
  return {
    username: owner,
    secret: encodeBase32(secret),
    algorithm,
    digits,
    ...(serial !== undefined && { serial }),
    ...(manufacturer !== undefined && { manufacturer }),
    ...(model !== undefined && { model }),
    awaitsActivation,
    ...(token.type === 'totp'
      ? { type: 'totp', periodSeconds: token.periodSeconds }
      : { type: 'hotp', initialCounter: token.initialCounter }),
  };
}

function refused(detail: string): Outcome {
  return { kind: 'refused', status: 422, code: 'invalid_token', detail };
}

function rowOf(placed: PlacedToken, options: Body, outcome: Outcome): Row {
  const owner = placed.token.username ?? options.username;
  const about = { at: placed.at, ...(owner !== undefined && { username: owner }) };
  if (outcome.kind === 'done') {
    const { revision, applied } = outcome;
    const done = { ...about, status: 201, id: String(outcome.result.id) };
    return { result: done, refused: null, revision, applied };
  }
  const { status, code, detail } = whyNot(outcome);
  const row = { result: { ...about, status, code, detail }, revision: 0, applied: true };
  return { ...row, refused: refuseToken(placed, detail) };
}

function whyNot(outcome: Exclude<Outcome, { kind: 'done' }>) {
  if (outcome.kind === 'refused') return outcome;
  if (outcome.kind === 'master_offline') {
    return { status: 503, code: 'master_offline', detail: 'no master: nothing was changed' };
  }
  if (outcome.kind === 'not_run') {
    return { status: 503, code: 'not_run', detail: 'not enrolled for now: repeat the request' };
  }
  const detail = 'sent but not confirmed: repeat the request with the same Idempotency-Key';
  return { status: 504, code: 'outcome_unknown', detail };
}

function replyTo({ refused: unread, place, notes }: TokenRows, rows: Row[]) {
  const results = [...rows.map((row) => row.result), ...unread.map(resultOf)];
  const bad = [...unread, ...rows.flatMap((row) => row.refused ?? [])];
  return {
    results: results.toSorted((a, b) => a.at - b.at),
    errorCsv:
      bad.length === 0
        ? null
        : writeErrorCsv(
            bad.toSorted((a, b) => a.at - b.at),
            place,
          ),
    notes,
    revision: Math.max(0, ...rows.map((row) => row.revision)),
    applied: rows.every((row) => row.applied),
  };
}

function resultOf({ at, error }: RefusedToken): Result {
  return { at, status: 422, code: 'invalid_token', detail: error };
}
