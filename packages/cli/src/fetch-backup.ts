import { request } from 'undici';
import { addressOf, nameOf, parseReply, refusal } from './call-api.ts';
import { CliError } from './cli-error.ts';
import { explainFailure } from './explain-failure.ts';
import { openAgent } from './open-agent.ts';

const FIRST_LINE_WITHIN_MS = 30_000;
const SILENCE_MS = 60_000;

/**
 * What the node at this socket knows, as lines of a backup, as fast as they are taken.
 * @throws CliError with the node's own words where it refuses, or where it falls silent
 */
export async function* fetchBackup(
  socketPath: string,
  body: { events: boolean; reason: string | null },
): AsyncGenerator<Buffer> {
  const server = { socketPath };
  const agent = openAgent(server, {
    authorities: undefined,
    headersTimeout: FIRST_LINE_WITHIN_MS,
    bodyTimeout: SILENCE_MS,
  });
  try {
    const reply = await request(addressOf(server, { path: '/api/v1/node/backup' }), {
      dispatcher: agent,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (reply.statusCode !== 200) {
      throw refusal(parseReply(server, await reply.body.text()), reply.statusCode);
    }
    for await (const chunk of reply.body) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { reason } = await explainFailure(server, error);
    throw new CliError(`no backup from ${nameOf(server)} (${reason})`, { cause: error });
  } finally {
    await agent.destroy();
  }
}
