import { randomUUID } from 'node:crypto';
import { request } from 'undici';
import { CliError, UnansweredError } from './cli-error.ts';
import { explainFailure } from './explain-failure.ts';
import type { Connection, Server } from './find-servers.ts';
import { openAgent } from './open-agent.ts';

export type ApiCall = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Record<string, string | undefined>;
  body?: object;
  /** For one server to answer; default: 3 s for a read, 35 s for the rest. */
  timeoutMs?: number;
  /** For a post that may be repeated by its caller; one of its own otherwise. */
  idempotencyKey?: string;
};

const READ_TIMEOUT_MS = 3_000;
/** Above the server's own 30 s, so that it is the server who says what became of a change. */
const WRITE_TIMEOUT_MS = 35_000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/**
 * Asks the first server that answers and returns its JSON. What is safe to repeat (reads, and posts,
 * which carry an Idempotency-Key) goes on to the next server after any silence, the rest only while
 * nothing was sent. A read also goes on after a server that fails (5xx).
 * @throws CliError with the server's own words if it refuses; UnansweredError if none could answer
 */
export async function callApi(connection: Connection, call: ApiCall): Promise<unknown> {
  const idempotencyKey = call.method === 'POST' ? (call.idempotencyKey ?? randomUUID()) : null;
  const failures: string[] = [];
  let wasSent = false;
  for (const [index, server] of connection.servers.entries()) {
    try {
      return await callServer(server, connection, call, idempotencyKey);
    } catch (error) {
      const isLast = index === connection.servers.length - 1;
      const mayGoOn = error instanceof UnansweredError && call.method === 'GET' && !isLast;
      if (error instanceof CliError && !mayGoOn) throw error;
      const failure = await explainFailure(server, error);
      failures.push(`${nameOf(server)} (${failure.reason})`);
      if (!failure.wasSent) continue;
      wasSent = true;
      if (call.method !== 'GET' && call.method !== 'POST') break;
    }
  }
  const unknown = wasSent && call.method !== 'GET' ? '; the change may have happened' : '';
  throw new UnansweredError(`no answer from ${failures.join(', ')}${unknown}`, {
    code: 'no_answer',
  });
}

async function callServer(
  server: Server,
  connection: Connection,
  call: ApiCall,
  idempotencyKey: string | null,
): Promise<unknown> {
  const { apiKey, authorities, reason } = connection;
  const usualMs = call.method === 'GET' ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS;
  const timeoutMs = call.timeoutMs ?? usualMs;
  const agent = openAgent(server, {
    authorities,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: MAX_REPLY_BYTES,
  });
  try {
    const reply = await request(addressOf(server, call), {
      dispatcher: agent,
      method: call.method,
      headers: {
        accept: 'application/json',
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
        ...(reason === undefined ? {} : { 'countersign-reason': encodeURIComponent(reason) }),
        ...(idempotencyKey === null ? {} : { 'idempotency-key': idempotencyKey }),
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: call.body === undefined ? null : JSON.stringify(call.body),
    });
    const renewed = reply.headers['countersign-session'];
    if (typeof renewed === 'string' && apiKey !== null) connection.onRenewed?.(renewed);
    const json = parseReply(server, await reply.body.text());
    if (reply.statusCode < 300) return json;
    throw refusal(json, reply.statusCode);
  } finally {
    await agent.destroy();
  }
}

export function addressOf(server: Server, call: Pick<ApiCall, 'path' | 'query'>): URL {
  const address = new URL(call.path, 'url' in server ? server.url : 'http://localhost');
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined) address.searchParams.set(name, value);
  }
  return address;
}

export function parseReply(server: Server, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CliError(`${nameOf(server)} does not answer like a Countersign node`, {
      cause: error,
    });
  }
}

export function refusal(problem: unknown, status: number): CliError {
  const { detail, code } = (problem ?? {}) as { detail?: string; code?: string };
  const message = `${detail ?? 'refused'} (${code ?? status})`;
  if (status >= 500) return new UnansweredError(message, { ...(code && { code }) });
  return new CliError(message, { ...(code && { code }) });
}

export function nameOf(server: Server): string {
  return 'url' in server ? server.url : server.socketPath;
}
