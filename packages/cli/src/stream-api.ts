import { request } from 'undici';
import { addressOf, nameOf, parseReply, refusal, type ApiCall } from './call-api.ts';
import { CliError, UnansweredError } from './cli-error.ts';
import { explainFailure } from './explain-failure.ts';
import type { Connection, Server } from './find-servers.ts';
import { openAgent } from './open-agent.ts';

const HEADERS_TIMEOUT_MS = 10_000;
/** A server that has nothing to tell says so more often. */
const SILENCE_MS = 30_000;
const LINE_MAX_LENGTH = 256 * 1024;

export type StreamCall = Pick<ApiCall, 'path' | 'query'>;

/**
 * Hands on each JSON line that the first server that answers sends, until that ends it.
 * @throws CliError with the server's own words if it refuses; UnansweredError where none answers, or one fell silent
 */
export async function streamApi(
  connection: Connection,
  call: StreamCall,
  onLine: (line: unknown) => void,
): Promise<void> {
  const failures: string[] = [];
  for (const server of connection.servers) {
    let hasBegun = false;
    try {
      return await streamServer(server, connection, call, (line) => {
        hasBegun = true;
        onLine(line);
      });
    } catch (error) {
      if (error instanceof CliError && !(error instanceof UnansweredError)) throw error;
      const { reason } = await explainFailure(server, error);
      failures.push(`${nameOf(server)} (${reason})`);
      if (hasBegun) break;
    }
  }
  throw new UnansweredError(`no answer from ${failures.join(', ')}`, { code: 'no_answer' });
}

async function streamServer(
  server: Server,
  { apiKey, authorities }: Connection,
  call: StreamCall,
  onLine: (line: unknown) => void,
): Promise<void> {
  const agent = openAgent(server, {
    authorities,
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: SILENCE_MS,
  });
  try {
    const { statusCode, body } = await request(addressOf(server, call), {
      dispatcher: agent,
      method: 'GET',
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}` },
    });
    body.setEncoding('utf8');
    let rest = '';
    for await (const chunk of body) {
      rest += String(chunk);
      if (statusCode === 200) rest = handOn(rest, onLine);
      if (rest.length > LINE_MAX_LENGTH) throw new CliError(`${nameOf(server)} sends no lines`);
    }
    if (statusCode !== 200) throw refusal(parseReply(server, rest), statusCode);
  } finally {
    await agent.destroy();
  }
}

/** Returns what is no whole line yet. */
function handOn(text: string, onLine: (line: unknown) => void): string {
  const lines = text.split('\n');
  const rest = lines.pop()!;
  for (const line of lines) onLine(JSON.parse(line));
  return rest;
}
