import { setTimeout as sleep } from 'node:timers/promises';
import { ask, publish, STREAM_NOT_FOUND } from './jetstream.ts';
import { namesOf } from './names.ts';
import { SilenceError, type NatsLink } from './nats-link.ts';

const TIMEOUT_MS = 2000;
const TRIES = 3;
const PAUSE_MS = 100;

/**
 * From then on no node's write of a user state is accepted in this incarnation, and everything can still be read: the
 * stream keeps one subject, which is nobody's. (Tried with nats-server 2.10.27: a write is answered "no responders"
 * at once. `sealed` does the same, but for ever.) Returns the position behind which no state lands until
 * {@link openStates}: that of a message sent by way of the same queue as all writes before; null where these servers
 * have no such bucket.
 * @throws {@link SilenceError}: it may be shut or not
 */
export async function shutStates(
  link: NatsLink,
  incarnationNumber: number,
): Promise<number | null> {
  const { states, statesEnd } = namesOf(incarnationNumber);
  if (!(await readConfig(link, states))) return null;
  await setSubjects(link, incarnationNumber, [statesEnd]);
  for (let tries = 1; ; tries += 1) {
    const end = await publish(link, statesEnd, Buffer.from('1'), TIMEOUT_MS);
    if (end.kind === 'stored') return end.sequence;
    // Its server may not have heard yet who takes that subject.
    if (tries === TRIES) throw new SilenceError(`${statesEnd} could not be written`);
    await sleep(PAUSE_MS);
  }
}

/** Lets states be written again; nothing where they can be. Throws {@link SilenceError}: call again. */
export async function openStates(link: NatsLink, incarnationNumber: number): Promise<void> {
  if (!(await areStatesShut(link, incarnationNumber))) return;
  await setSubjects(link, incarnationNumber, [namesOf(incarnationNumber).allStates]);
}

/** As the stream's leader has it. Throws {@link SilenceError}. */
export async function areStatesShut(link: NatsLink, incarnationNumber: number): Promise<boolean> {
  const { states, statesEnd } = namesOf(incarnationNumber);
  const { subjects } = (await readConfig(link, states)) ?? { subjects: [] };
  return subjects.length === 1 && subjects[0] === statesEnd;
}

async function setSubjects(link: NatsLink, number: number, subjects: string[]): Promise<void> {
  const { states } = namesOf(number);
  const config = { ...(await readConfig(link, states)), subjects };
  const changed = await ask(link, `STREAM.UPDATE.${states}`, config, TIMEOUT_MS);
  if (changed.error) throw new SilenceError(`${states}: ${changed.error.description}`);
}

async function readConfig(link: NatsLink, stream: string) {
  const found = await ask(link, `STREAM.INFO.${stream}`, {}, TIMEOUT_MS);
  if (found.error?.err_code === STREAM_NOT_FOUND) return null;
  if (!found.config) {
    throw new SilenceError(`${stream}: ${found.error?.description ?? 'it is not described'}`);
  }
  return found.config;
}
