import type { NatsConnection } from '@nats-io/transport-node';
import type { Incarnation } from './incarnation.ts';
import {
  formatHostPort,
  tagOfServer,
  type LogLayout,
  type LogServerAddress,
} from './log-layout.ts';
import { connectOnce, createOwnInbox, type LogSignIn } from './log-sign-in.ts';
import type { NatsLink, Sealer } from './nats-link.ts';
import { HELLO_SUBJECT, NODE_NAME } from './names.ts';

/** What an agent tells whoever asks on its log server, also nodes that live in another log. */
export type Hello = {
  node: string;
  layout: LogLayout;
  /** The incarnation its tables belong to, and how far they are; null while they are empty. */
  place: { incarnation: Incarnation; revision: number; epoch: number } | null;
  /** Of any incarnation it has heard of. */
  highestNumber: number;
  master: string | null;
  /** Writes to its log are answered. */
  isLogWritable: boolean;
  /** The highest mark of each node's store in this layout that it has heard of. */
  storeMarks: Record<string, number>;
  /** Every node it has ever heard of in its cluster. */
  knownNodes: string[];
};

export type Survey = {
  server: LogServerAddress;
  /** Null: nothing listens there, or it did not greet in time. */
  tag: string | null;
  hellos: Hello[];
};

const CONNECT_MS = 1000;
const COLLECT_MS = 400;
const CONTEXT = 'hello';
const MAX_HELLOS = 64;

/** Answers every {@link surveyLogServers}. */
export function serveHello(options: {
  link: NatsLink;
  sealer: Sealer;
  describe(): Promise<Hello>;
}): void {
  options.link.whenFirstConnected((connection) => {
    connection.subscribe(HELLO_SUBJECT, {
      callback: (error, message) => {
        if (error || !message.reply) return;
        options
          .describe()
          .then((hello) => {
            const bytes = Buffer.from(JSON.stringify(hello));
            message.respond(options.sealer.seal(bytes, CONTEXT));
          })
          .catch(() => undefined);
      },
    });
  });
}

/** Asks each of these log servers, whatever log it belongs to, who is connected there. Bounded by about 1.5 s. */
export async function surveyLogServers(options: {
  servers: readonly LogServerAddress[];
  signIn: LogSignIn;
  name: string;
  sealer: Sealer;
}): Promise<Survey[]> {
  return Promise.all(options.servers.map((server) => surveyOne(server, options)));
}

async function surveyOne(
  server: LogServerAddress,
  options: { signIn: LogSignIn; name: string; sealer: Sealer },
): Promise<Survey> {
  let connection: NatsConnection;
  try {
    connection = await connectOnce(options.signIn, {
      server: formatHostPort(server.host, server.clientPort),
      name: `${options.name} survey`,
      timeoutMs: CONNECT_MS,
    });
  } catch {
    return { server, tag: null, hellos: [] };
  }
  try {
    const tag = tagOfServer(connection.info?.server_name ?? '');
    return { server, tag, hellos: await collectHellos(connection, options) };
  } finally {
    await connection.close().catch(() => undefined);
  }
}

async function collectHellos(
  connection: NatsConnection,
  { signIn, sealer }: { signIn: LogSignIn; sealer: Sealer },
): Promise<Hello[]> {
  const hellos = new Map<string, Hello>();
  const inbox = createOwnInbox(signIn);
  connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error || hellos.size >= MAX_HELLOS) return;
      const hello = openHello(message.data, sealer);
      if (hello) hellos.set(hello.node, hello);
    },
  });
  connection.publish(HELLO_SUBJECT, '', { reply: inbox });
  await new Promise((resolve) => setTimeout(resolve, COLLECT_MS));
  return [...hellos.values()];
}

function openHello(data: Uint8Array, sealer: Sealer): Hello | null {
  try {
    const hello = JSON.parse(Buffer.from(sealer.open(data, CONTEXT)).toString()) as Hello;
    return NODE_NAME.test(hello.node) ? hello : null;
  } catch {
    return null;
  }
}
