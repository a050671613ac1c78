import { randomUUID } from 'node:crypto';
import { takeFinalOutbox } from '@countersign/database';
import { OpenDirectories, sealRadiusSecret } from '@countersign/operations';
import { runTool } from '@countersign/radius/testing';
import {
  generateSecret,
  hotp,
  type RadiusClientDocument,
  type RadiusTargetDocument,
  type UserDocument,
} from '@countersign/verification';
import type { RadiusFront } from '../radius/radius-front.ts';
import { makeFrontKeys, openTestFront, radiusClientAt, SHARED } from './open-test-front.ts';
import type { useTestStates } from './use-test-states.ts';

export const ACCEPT = 'Received Access-Accept';
export const REJECT = 'Received Access-Reject';
export const CHALLENGE = 'Received Access-Challenge';

type FrontOptions = Parameters<typeof openTestFront>[1];

/** RADIUS front doors of one test file, for the application `vpn`, and radclient in front of them. */
export function useTestFronts(test: ReturnType<typeof useTestStates>) {
  const keys = makeFrontKeys();
  const seed = generateSecret();
  let first: RadiusFront | undefined;
  const openDirectories = (node: string) => {
    const opened = new OpenDirectories({ db: test.db(), node, seedKey: keys.seed });
    test.atEnd(() => opened[Symbol.asyncDispose]());
    return opened;
  };

  return {
    keys,
    /** Of the HOTP token that everybody has. */
    seed,
    /** What RADIUS clients share with us. */
    shared: SHARED,
    code: (counter: number) => hotp(seed, counter, { algorithm: 'SHA1', digits: 6 }),
    enrol: (username: string, more: Partial<UserDocument> = {}) =>
      test.addUser(keys.seed, seed, async () => ({ username, ...more })),

    /** A client at this address whose passwords are judged by that target. */
    clientAt: (
      address: string,
      target: string,
      fields: Partial<RadiusClientDocument> = {},
    ): RadiusClientDocument =>
      radiusClientAt(keys.seed, address, {
        firstFactor: { kind: 'radius', target },
        replies: [{ group: null, attribute: 'Session-Timeout', value: '600' }],
        ...fields,
      }),

    /** A target of servers on loopback. */
    targetAt(
      name: string,
      { ports, secret }: { ports: number[]; secret: string },
      fields: Partial<RadiusTargetDocument> = {},
    ): RadiusTargetDocument {
      const at = new Date().toISOString();
      const servers = ports.map((port) => ({ host: '127.0.0.1', port }));
      const place = { id: randomUUID(), servers };
      return {
        ...place,
        name,
        sealedSecret: sealRadiusSecret(keys.seed, place, secret),
        messageAuthenticator: 'require',
        timeoutMs: 3000,
        passAttributes: ['Class', 'Filter-Id'],
        createdAt: at,
        updatedAt: at,
        ...fields,
      };
    },

    async open(node: string, options: Omit<FrontOptions, 'node' | 'keys'> = {}) {
      const { directories = openDirectories(node) } = options;
      const opened = await openTestFront(test, { node, keys, ...options, directories });
      first ??= opened.front;
      return opened;
    },

    /** What radclient shows of an Access-Request from this address, and of its answer. */
    async send(
      from: string,
      attributes: readonly string[],
      { at = first!, waitMs = 8000 } = {},
    ): Promise<string> {
      const tries = String(Math.ceil(waitMs / 2000));
      return runTool({
        command: 'radclient',
        args: ['-x', '-r', tries, '-t', '2', `127.0.0.1:${at.ports[0]}`, 'auth', SHARED],
        input: [
          ...attributes,
          'NAS-Identifier="gate"',
          'Calling-Station-Id="laptop"',
          `Packet-Src-IP-Address=${from}`,
          'Message-Authenticator=0x00',
        ].join(','),
      });
    },

    /** What the events of a user say, in order. */
    async reasonsOf(user: UserDocument) {
      const all = await takeFinalOutbox(test.db(), 10_000);
      return all
        .filter(({ event }) => event.userId === user.id)
        .map(({ event: { reason, details } }) => ({ reason, target: details.target }));
    },
  };
}

export const pap = (name: string, password: string) => [
  `User-Name="${name}"`,
  `User-Password="${password}"`,
];

/** The lines of what came back whose attribute begins with one of these. */
export function receivedIn(output: string, ...names: string[]): string[] {
  const lines = output.slice(output.indexOf('Received')).split('\n').slice(1);
  return lines
    .map((line) => line.trim())
    .filter((line) => names.some((name) => line.startsWith(name)));
}
