import { ask, type JetStreamAnswer } from './jetstream.ts';
import { INCARNATION_STREAM } from './names.ts';
import type { NatsLink } from './nats-link.ts';

/** `unknown`: nobody could say, e.g. without a leader. */
export type Voice = 'heard' | 'unheard' | 'unknown';

const TIMEOUT_MS = 1000;
const STREAM_NOT_FOUND = 10059;
const NO_SUITABLE_PEERS = 10005;
/** Servers of a stream answer their leader once a second. */
const HEARD_WITHIN_NS = 4e9;

/**
 * Whether the log's leader hears the log server `server`, asked through that very server: if the answer comes, routes
 * work both ways. A nats-server 2.10 may come up mute (docs/decisions.md): it follows, but none of its votes and
 * acknowledgements leave it, until it is started again. A witness may create nothing: to it a log that is still empty
 * looks like one that does not hear it.
 */
export async function askWhetherHeard(
  link: NatsLink,
  server: string,
  { mayCreate = true } = {},
): Promise<Voice> {
  try {
    const answer = await ask(link, `STREAM.INFO.${INCARNATION_STREAM}`, {}, TIMEOUT_MS);
    if (answer.error?.err_code === STREAM_NOT_FOUND) {
      // Without the right to try it: as long as there is no stream, a restart costs nothing.
      return mayCreate ? await askForAPlaceOn(link, server) : 'unheard';
    }
    return answer.error ? 'unknown' : voiceIn(answer, server);
  } catch {
    return 'unknown';
  }
}

function voiceIn({ cluster }: JetStreamAnswer, server: string): Voice {
  if (!cluster?.leader) return 'unknown';
  if (cluster.leader === server) return 'heard';
  const replica = cluster.replicas?.find(({ name }) => name === server);
  if (!replica || replica.offline) return 'unknown';
  const { current, active = 0 } = replica;
  return current || (active > 0 && active < HEARD_WITHIN_NS) ? 'heard' : 'unheard';
}

/** Before there is any stream: the leader places nothing on a server that never answered it. */
async function askForAPlaceOn(link: NatsLink, server: string): Promise<Voice> {
  const name = `VOICE-${server.replaceAll('.', '-')}`;
  const config = {
    name,
    subjects: [`cs.voice.${server}`],
    num_replicas: 1,
    storage: 'memory',
    max_bytes: 1024,
    placement: { tags: [server] },
  };
  const { error } = await ask(link, `STREAM.CREATE.${name}`, config, TIMEOUT_MS);
  if (error) return error.err_code === NO_SUITABLE_PEERS ? 'unheard' : 'unknown';
  await ask(link, `STREAM.DELETE.${name}`, {}, TIMEOUT_MS);
  return 'heard';
}
