import { randomUUID } from 'node:crypto';
import { sealRadiusSecret } from '@countersign/operations';
import { RadiusClient, type ClientRequest, type ClientResult } from '@countersign/radius';
import {
  generateSecret,
  hotp,
  type RadiusClientDocument,
  type UserDocument,
} from '@countersign/verification';
import type { DirectoriesToAsk } from '../first-factor.ts';
import type { MethodsElsewhere } from '../waits.ts';
import { exampleDirectory } from './example-directory.ts';
import { makeFrontKeys, openTestFront, radiusClientAt, SHARED } from './open-test-front.ts';
import { useTestStates } from './use-test-states.ts';

export const RIGHT = 'Wachtwoord.1';

/**
 * RADIUS of workers on loopback, with real verifiers. The people of its one directory have the password {@link RIGHT};
 * `beforeBind` runs before each is asked for.
 */
export function useAskedFronts() {
  const test = useTestStates();
  const keys = makeFrontKeys();
  const secret = generateSecret();
  const directory = exampleDirectory('people', ['example.test']);
  const bends = { isReady: true, beforeBind: async (): Promise<void> => undefined };
  const people: DirectoriesToAsk = {
    resolve: async () => ({ kind: 'unknown' }),
    async signIn(_directory, who, password) {
      await bends.beforeBind();
      if (password === RIGHT)
        return { kind: 'accepted', object: who.object, dn: `CN=${who.object}` };
      return { kind: 'refused', reason: 'wrong_password' };
    },
  };

  return {
    test,
    keys,
    directory,
    bends,
    code: (counter: number) => hotp(secret, counter, { algorithm: 'SHA1', digits: 6 }),
    open(
      node: string,
      worker = 0,
      workers = 1,
      elsewhere: MethodsElsewhere | null = null,
    ): ReturnType<typeof openTestFront> {
      const isReady = async () => bends.isReady;
      const own = { node, keys, worker, workers, directories: people, elsewhere, isReady };
      return openTestFront(test, own);
    },
    /** A client of the application vpn; its name is `gateway` unless it is told. */
    clientAt(
      addresses: string[],
      fields: Partial<RadiusClientDocument> = {},
    ): RadiusClientDocument {
      const place = { id: randomUUID(), addresses };
      const sealedSecret = sealRadiusSecret(keys.seed, place, SHARED);
      const named = { name: 'gateway', ...place, sealedSecret, ...fields };
      return radiusClientAt(keys.seed, addresses[0]!, named);
    },
    /** Of the directory, with a token. */
    enrol(username: string, more: Partial<UserDocument> = {}): Promise<UserDocument> {
      const link = { id: directory.id, object: username, dn: `CN=${username}`, item: null };
      const fields = { username, directory: { ...link, names: [], mails: [] }, ...more };
      return test.addUser(keys.seed, secret, async () => fields);
    },
  };
}

/** What a client on loopback gets, which shares `secret` with the server. */
export async function askOnce(
  port: number,
  request: ClientRequest,
  { secret = SHARED, timeoutMs = 10_000 } = {},
): Promise<ClientResult> {
  await using client = new RadiusClient({
    servers: [
      {
        name: 'front',
        host: '127.0.0.1',
        port,
        secret: Buffer.from(secret),
        messageAuthenticator: 'require',
      },
    ],
    bounds: { timeoutMs, firstWaitMs: timeoutMs, triesPerServer: 1 },
  });
  return await client.send(request);
}
