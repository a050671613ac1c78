import { findText, makeClientMatcher, packetCodes, RadiusServer } from '@countersign/radius';
import {
  decodeBase32,
  defaultSettings,
  emptyState,
  judgeStep,
  usernameKey,
  type UserDocument,
} from '@countersign/verification';

/**
 * A process of its own: our RADIUS server and the rules, with users in memory and nothing that remembers a code, as
 * rlm_totp does it. Told whom it knows by a message, it answers with its port.
 */
export type WithoutClaims = { secret: string; users: { name: string; base32: string }[] };

process.once('message', (told: WithoutClaims) => void serve(told));
process.once('disconnect', () => process.exit());

async function serve({ secret, users }: WithoutClaims): Promise<void> {
  const people = new Map(
    users.map(({ name, base32 }, n) => [usernameKey(name), personOf(name, base32, n)]),
  );
  const client = {
    name: 'bench',
    secret: Buffer.from(secret),
    messageAuthenticator: 'require' as const,
  };
  const server = await RadiusServer.start({
    listen: [{ address: '127.0.0.1', port: 0, service: 'authentication' }],
    findClient: makeClientMatcher([{ addresses: ['127.0.0.1'], client }]),
    handle: async ({ attributes, password }) => {
      const person = people.get(usernameKey(findText(attributes, 'User-Name') ?? ''));
      const code = password?.toString() ?? '';
      const isRight = person !== undefined && isApproved(person, code);
      const { accessAccept, accessReject } = packetCodes;
      return { code: isRight ? accessAccept : accessReject, attributes: [] };
    },
    onError: (error) => console.error(error),
  });
  process.send?.(server.ports[0]);
}

type Person = { user: UserDocument; secrets: Map<string, Buffer> };

function isApproved({ user, secrets }: Person, code: string): boolean {
  const judgement = judgeStep({
    user,
    secrets,
    state: emptyState(),
    settings: defaultSettings,
    attempt: {
      id: 'bench',
      keyHash: null,
      client: 'bench',
      door: 'pap',
      code,
      method: null,
      wrongCodeHmac: null,
    },
    nowMs: Date.now(),
  });
  return judgement.kind === 'record' && judgement.verdict.approved;
}

function personOf(name: string, base32: string, n: number): Person {
  const id = `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
  const at = new Date().toISOString();
  const user: UserDocument = {
    id,
    username: name,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [
      {
        type: 'totp',
        id,
        algorithm: 'SHA1',
        digits: 6,
        periodSeconds: 30,
        sealedSecret: 'AAAA',
        createdAt: at,
      },
    ],
    createdAt: at,
    updatedAt: at,
  };
  return { user, secrets: new Map([[id, decodeBase32(base32)]]) };
}
