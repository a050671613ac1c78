import type { NatsConnection } from '@nats-io/transport-node';
import { flawOfNats } from './flaw-of-nats.ts';
import { permissionsOf, type LogRole } from './log-permissions.ts';
import { connectOnce, type LogSignIn } from './log-sign-in.ts';
import { INCARNATION_STREAM } from './names.ts';
import { flawOfAnswer } from './streams-claim.ts';

/** A NATS that this node must not, or cannot, use; the message is a line an operator can act on. */
export class NatsRefusedError extends Error {
  override readonly name = 'NatsRefusedError';
}

const CONNECT_MS = 2000;
const ANSWER_MS = 2000;
const MAY_PASS = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'TIMEOUT', 'CONNECTION_REFUSED'],
]);
/** Of no incarnation: no stream of ours takes it. */
const NOBODYS = '0';
/** What only agents may say; there nothing listens and nothing keeps it. */
const AGENTS_ALONE = [`change.${NOBODYS}.${NOBODYS}`, `$KV.LEASE.${NOBODYS}.master`];

/**
 * Looks whether the operator's NATS is what the node needs, as one of its processes would use it: each server that
 * answers by its version and JetStream, then, where processes have keys of their own, what this one may say and hear,
 * and whose streams are there. Bounded by about 8 s.
 * @returns false where no server answers, and nothing is known yet
 * @throws NatsRefusedError what is wrong, and where
 */
export async function checkNats(about: {
  /** `host:port` */
  servers: readonly string[];
  signIn: LogSignIn & { streamsOf: string };
  role: LogRole;
  node: string;
  /** Nothing may be there yet, this cluster's neither. */
  isNew?: boolean;
}): Promise<boolean> {
  const { servers, signIn } = about;
  const opened = await Promise.allSettled(servers.map((server) => open(server, about)));
  const connections = opened.flatMap((one) =>
    one.status === 'fulfilled' && one.value ? [one.value] : [],
  );
  try {
    for (const one of opened) if (one.status === 'rejected') throw one.reason;
    for (const connection of connections) {
      const flaw = flawOfNats(connection);
      if (flaw) throw new NatsRefusedError(flaw);
    }
    const [first] = connections;
    if (!first) return false;
    await checkStreams(first, signIn.streamsOf, about.isNew ?? false);
    // What a process may do depends on its key.
    if ('seed' in signIn) await checkPermissions(first, about);
    return true;
  } finally {
    await Promise.all(connections.map((each) => each.close().catch(() => undefined)));
  }
}

/** Null: nobody is there. */
async function open(
  server: string,
  { signIn, role, node }: { signIn: LogSignIn; role: LogRole; node: string },
): Promise<NatsConnection | null> {
  try {
    return await connectOnce(signIn, { server, name: `${node} check`, timeoutMs: CONNECT_MS });
  } catch (cause) {
    const error = cause as Error;
    if (/authori[sz]ation|authentication/i.test(`${error.name} ${error.message}`)) {
      const advice =
        'seed' in signIn ? 'enter there what "countersign nats-config" prints' : 'see nats.user';
      throw new NatsRefusedError(
        `nats.urls: ${server} does not let the ${role} of ${node} in: ${advice}`,
        { cause },
      );
    }
    if (mayPass(error)) return null;
    throw new NatsRefusedError(`nats.urls: ${server}: ${rootOf(error).message}`, { cause });
  }
}

function mayPass(error: Error): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code, name, message } = at as Error & { code?: string };
    if (name === 'TimeoutError' || MAY_PASS.has(code ?? '')) return true;
    if (message === 'connection refused') return true;
  }
  return false;
}

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

/** Nothing that anybody keeps or acts on is said: no incarnation has the number 0, and no node a name that long. */
async function checkPermissions(
  connection: NatsConnection,
  { role, node }: { role: LogRole; node: string },
): Promise<void> {
  const allowed = permissionsOf(role, node);
  const publish = allowed.publish.filter((subject) => /[*>]/.test(subject)).map(exampleOf);
  const refusedFor = new Set<string>();
  const listening = (async () => {
    for await (const status of connection.status()) {
      if (status.type === 'error') refusedFor.add(status.error.message);
    }
  })();
  const forbidden = role === 'agent' ? [] : AGENTS_ALONE;
  for (const subject of [...publish, ...forbidden]) connection.publish(subject, '');
  for (const pattern of allowed.subscribe) {
    const [subject = '', queue] = pattern.split(' ');
    connection.subscribe(subject, { ...(queue && { queue }), callback: () => undefined });
  }
  await connection.flush();
  await connection.close();
  await listening;
  const isRefused = (what: string, subject: string) =>
    [...refusedFor].some((message) => message.includes(`${what} to "${subject}"`));
  const unheard = allowed.subscribe.find((pattern) =>
    isRefused('Subscription', pattern.split(' ')[0]!),
  );
  const advice = 'enter there what "countersign nats-config" prints';
  const missing = allowed.publish.find((pattern) => isRefused('Publish', exampleOf(pattern)));
  if (missing !== undefined || unheard !== undefined) {
    const what = missing === undefined ? `hear ${unheard}` : `say ${missing}`;
    throw new NatsRefusedError(`nats.urls: the ${role} of ${node} may not ${what}: ${advice}`);
  }
  const tooMuch = forbidden.find((subject) => !isRefused('Publish', subject));
  if (tooMuch !== undefined) {
    throw new NatsRefusedError(
      `nats.urls: the ${role} of ${node} may say ${tooMuch}, which only agents may: ${advice}`,
    );
  }
}

function exampleOf(pattern: string): string {
  return pattern.replaceAll('*', NOBODYS).replace('>', NOBODYS);
}

/** Where nobody leads there is no answer: agents and workers ask again before they use anything. */
async function checkStreams(
  connection: NatsConnection,
  cluster: string,
  isNew: boolean,
): Promise<void> {
  const subject = `$JS.API.STREAM.INFO.${INCARNATION_STREAM}`;
  const reply = await connection.request(subject, '', { timeout: ANSWER_MS }).catch(() => null);
  const found = reply && flawOfAnswer(reply.json(), cluster);
  if (found?.flaw) throw new NatsRefusedError(found.flaw);
  if (isNew && !found) throw new NatsRefusedError('nats.urls: JetStream does not answer there');
  if (isNew && found?.isThere) {
    throw new NatsRefusedError(
      `nats.urls: the stream ${INCARNATION_STREAM} is there already: give it an empty account`,
    );
  }
}
