import {
  connect,
  createInbox,
  nkeyAuthenticator,
  type ConnectionOptions,
  type NatsConnection,
} from '@nats-io/transport-node';
import { checkServerKey } from './server-keys.ts';

/** Files of a secured node, by path: they are read anew for every connection, so a renewed one counts from then on. */
export type TlsFiles = {
  authorityFile: string;
  certificateFile: string;
  keyFile: string;
  /** Who may be a log server; missing: whoever has a good certificate. */
  membersFile?: string;
};

/** What the operator's own servers show is checked; a certificate of one's own is shown where they want one. */
export type OperatorsTls = { authorityFile: string; certificateFile?: string; keyFile?: string };

/** How a process signs in at the log servers; the supervisor hands it to the agent and the workers. */
export type LogSignIn = (
  | /** One password for everybody, where all log servers listen on loopback only; empty: none. */ {
      user: string;
      password: string;
    }
  | {
      /** Of the nkey by which the log servers know who this is and what it may do. */
      seed: string;
      /** What is answered to this process lies below; nobody else may listen there. */
      inboxPrefix: string;
      /** Null: the operator's servers on loopback, in the clear. */
      tls: TlsFiles | OperatorsTls | null;
    }
) & {
  /**
   * Only where the log is in a NATS of the operator's own: the cluster whose mark its streams bear. Others' are
   * refused.
   */
  streamsOf?: string;
};

/**
 * The part of a connection's options that says who is connecting, and how it is kept secret. `noteKey` is told the key of
 * each server that is connected to, where members are known.
 */
export function signInOptions(
  signIn: LogSignIn,
  noteKey: (digest: string) => void = () => undefined,
): ConnectionOptions {
  if ('password' in signIn) {
    return signIn.user === '' ? {} : { user: signIn.user, pass: signIn.password };
  }
  const { seed, inboxPrefix, tls } = signIn;
  const identity = { authenticator: nkeyAuthenticator(Buffer.from(seed)), inboxPrefix };
  if (!tls) return identity;
  const { authorityFile: caFile, certificateFile, keyFile } = tls;
  const own = certificateFile && keyFile ? { certFile: certificateFile, keyFile } : {};
  const membersFile = membersFileOf(signIn);
  return {
    ...identity,
    tls: {
      caFile,
      ...own,
      // Not a byte in the clear, the server's greeting neither; servers of others greet first by default.
      ...(signIn.streamsOf === undefined && { handshakeFirst: true }),
      // Handed on to node:tls as it is, though the library does not list it.
      ...(membersFile !== undefined && {
        checkServerIdentity: checkServerKey(membersFile, noteKey),
      }),
    },
  };
}

/** To this one server (`host:port`) once: never made again, and to no other that it tells of. Throws what the library does. */
export function connectOnce(
  signIn: LogSignIn,
  { server, name, timeoutMs }: { server: string; name: string; timeoutMs: number },
): Promise<NatsConnection> {
  return connect({
    ...signInOptions(signIn),
    servers: server,
    name,
    reconnect: false,
    timeout: timeoutMs,
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
  });
}

/** A subject for answers, where whoever signs in so may listen. */
export function createOwnInbox(signIn: LogSignIn): string {
  return createInbox('inboxPrefix' in signIn ? signIn.inboxPrefix : undefined);
}

/** Which servers are members' own can be known only where members run them. */
export function membersFileOf(signIn: LogSignIn): string | undefined {
  if ('password' in signIn || !signIn.tls) return undefined;
  return 'membersFile' in signIn.tls ? signIn.tls.membersFile : undefined;
}
