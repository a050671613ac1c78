import { Agent, request } from 'undici';
import {
  addressOf,
  CONNECT_TIMEOUT_MS,
  nameOf,
  reasonOf,
  refusal,
  type ApiCall,
} from './call-api.ts';
import { CliError, UnansweredError } from './cli-error.ts';
import type { Connection, Server } from './find-servers.ts';

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
      return await streamServer(server, connection.apiKey, call, (line) => {
        hasBegun = true;
        onLine(line);
      });
    } catch (error) {
      if (error instanceof CliError && !(error instanceof UnansweredError)) throw error;
      failures.push(`${nameOf(server)} (${reasonOf(error)})`);
      if (hasBegun) break;
    }
  }
  throw new UnansweredError(`no answer from ${failures.join(', ')}`, { code: 'no_answer' });
}

async function streamServer(
  server: Server,
  apiKey: string | null,
  call: StreamCall,
  onLine: (line: unknown) => void,
): Promise<void> {
  const agent = new Agent({
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      ...('socketPath' in server ? { socketPath: server.socketPath } : {}),
    },
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
    if (statusCode !== 200) throw refusal(parse(server, rest), statusCode);
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

function parse(server: Server, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError(`${nameOf(server)} does not answer like a Countersign node`, { cause });
  }
}
