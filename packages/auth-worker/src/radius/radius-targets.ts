import type { PurposeKey } from '@countersign/keys';
import { openRadiusSecret } from '@countersign/operations';
import {
  findAttributeByName,
  mschapReplies,
  packetCodes,
  pickAttributes,
  RadiusClient,
  RadiusError,
  withoutHopAttributes,
  type Attribute,
  type Exchange,
  type NamedAttribute,
} from '@countersign/radius';
import { serverKey, type RadiusTargetDocument } from '@countersign/verification';
import type { Logger } from 'pino';

/** Attributes as a target hid them. */
export type TargetAttributes = { attributes: Attribute[]; exchange: Exchange };

export type TargetAnswer =
  /** What may go on to the client. */
  | ({ kind: 'accepted' | 'rejected' } & TargetAttributes)
  /** It wants more than a password: nobody asks that on its behalf. */
  | { kind: 'challenged' }
  /** `mayBeWrong`: a server may have judged the password all the same, and counted a wrong one. */
  | { kind: 'unavailable'; mayBeWrong?: true };

export type TargetRequest = {
  /** As the client sent them. */
  attributes: readonly Attribute[];
  /** Of PAP; null: what proves the password is among the attributes. */
  password: Buffer | null;
};

export type RadiusTarget = Pick<RadiusTargetDocument, 'id' | 'name'> & {
  /** MSCHAPv2 brings keys, and whoever forges a reply could choose them (security rule 23). */
  mayJudgeMschap: boolean;
  /** Whether anything of its accepts goes on to the client. */
  hasReplies: boolean;
  /** Never rejects; ends after the target's own deadline. */
  ask(request: TargetRequest): Promise<TargetAnswer>;
};

type Open = { client: RadiusClient; timeoutMs: number };

const FIRST_WAIT_MS = { least: 200, most: 1000 };
/** Tries of one server, in first waits: 1 + 2 + 2. */
const WAITS_PER_SERVER = 5;
/** Sign-ins, of three packets each, that a silent server may cost their wait before the others go past it. */
const DEAD_AFTER = 1;
const CHALLENGES_TOLD_EVERY_MS = 60_000;

/**
 * RADIUS servers that judge first factors, as the settings have them. A target's sockets, and what is known of its
 * servers' health, stay for as long as its servers, secret and deadlines are the same; then they end when what is
 * under way has.
 */
export class RadiusTargets implements AsyncDisposable {
  readonly #seedKey: PurposeKey;
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  readonly #open = new Map<string, Open>();
  readonly #ending = new Map<RadiusClient, NodeJS.Timeout>();
  readonly #challengesToldAt = new Map<string, number>();
  #targets = new Map<string, RadiusTarget>();

  constructor({ seedKey, log }: { seedKey: PurposeKey; log: Pick<Logger, 'info' | 'warn'> }) {
    this.#seedKey = seedKey;
    this.#log = log;
  }

  /** Of a new revision of the settings. Returns those that cannot be asked as they stand, and why. */
  use(documents: readonly RadiusTargetDocument[]): { target: string; problem: string }[] {
    const unusable: { target: string; problem: string }[] = [];
    const targets = new Map<string, RadiusTarget>();
    const used = new Set<string>();
    for (const document of documents) {
      try {
        const passes = document.passAttributes.map(attributeOf);
        const { client } = this.#clientOf(document, used);
        const { id, name, timeoutMs, messageAuthenticator } = document;
        targets.set(id, {
          id,
          name,
          mayJudgeMschap: messageAuthenticator === 'require',
          hasReplies: passes.length > 0,
          ask: async (request) => {
            const answer = await ask(client, request, { passes, timeoutMs }).catch(
              (error: unknown): TargetAnswer => {
                this.#log.warn({ target: name, error: String(error) }, 'a RADIUS target failed');
                // It ended while it was under way: nobody knows how far it came.
                return { kind: 'unavailable', mayBeWrong: true };
              },
            );
            if (answer.kind === 'challenged') this.#tellOfChallenge({ id, name });
            return answer;
          },
        });
      } catch (error) {
        const isOwn = error instanceof RadiusError;
        const problem = isOwn ? error.message : 'its secret does not open: set it again';
        unusable.push({ target: document.name, problem });
      }
    }
    this.#targets = targets;
    for (const [key, open] of this.#open) if (!used.has(key)) this.#endLater(key, open);
    for (const id of this.#challengesToldAt.keys()) {
      if (!targets.has(id)) this.#challengesToldAt.delete(id);
    }
    return unusable;
  }

  /** Null: there is none, or it cannot be asked as it stands. */
  find(id: string): RadiusTarget | null {
    return this.#targets.get(id) ?? null;
  }

  /** Each sign-in has its event; the log says once a minute what to do about them. */
  #tellOfChallenge({ id, name }: { id: string; name: string }): void {
    const now = performance.now();
    if (now - (this.#challengesToldAt.get(id) ?? -Infinity) < CHALLENGES_TOLD_EVERY_MS) return;
    this.#challengesToldAt.set(id, now);
    this.#log.warn(
      { target: name },
      'a RADIUS target asks for more than a password: its question is not passed on, and the sign-in is denied',
    );
  }

  #clientOf(document: RadiusTargetDocument, used: Set<string>): Open {
    const { id, name, servers, sealedSecret, messageAuthenticator, timeoutMs } = document;
    const key = JSON.stringify([id, servers, sealedSecret, messageAuthenticator, timeoutMs]);
    used.add(key);
    const known = this.#open.get(key);
    if (known) return known;
    const secret = openRadiusSecret(this.#seedKey, document);
    const fairMs = timeoutMs / servers.length / WAITS_PER_SERVER;
    const firstWaitMs = Math.max(FIRST_WAIT_MS.least, Math.min(FIRST_WAIT_MS.most, fairMs));
    const client = new RadiusClient({
      servers: servers.map((server) => ({
        ...server,
        name: serverKey(server),
        secret,
        messageAuthenticator,
      })),
      bounds: {
        timeoutMs,
        firstWaitMs,
        longestWaitMs: 2 * firstWaitMs,
        deadAfter: DEAD_AFTER,
      },
      onServerState: (server, state) =>
        this.#log.warn({ target: name, server, state }, 'a RADIUS target changed'),
      onRefused: ({ source, reason, count }) =>
        this.#log.warn({ target: name, server: source, reason, count }, 'replies were refused'),
    });
    const open = { client, timeoutMs };
    this.#open.set(key, open);
    return open;
  }

  #endLater(key: string, { client, timeoutMs }: Open): void {
    this.#open.delete(key);
    const end = () => {
      this.#ending.delete(client);
      void client.close();
    };
    this.#ending.set(client, setTimeout(end, timeoutMs).unref());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#ending.values()) clearTimeout(timer);
    const open = [...this.#open.values()].map(({ client }) => client);
    const all = [...open, ...this.#ending.keys()];
    this.#open.clear();
    this.#ending.clear();
    this.#targets.clear();
    await Promise.all(all.map((client) => client.close()));
  }
}

async function ask(
  client: RadiusClient,
  { attributes, password }: TargetRequest,
  { passes, timeoutMs }: { passes: readonly NamedAttribute[]; timeoutMs: number },
): Promise<TargetAnswer> {
  const request = {
    code: packetCodes.accessRequest,
    attributes: withoutHopAttributes(attributes),
    ...(password && { password }),
  };
  const isMschap = password === null;
  const result = await client.send(request, { timeoutMs });
  if (result.kind !== 'answered') {
    const isDoubtful = result.kind === 'unanswered' && result.mayBeHeard;
    return { kind: 'unavailable', ...(isDoubtful && { mayBeWrong: true }) };
  }
  const { code, attributes: told, exchange } = result;
  const own = isMschap ? mschapReplies : [];
  if (code === packetCodes.accessAccept) {
    return { kind: 'accepted', attributes: pickAttributes(told, [...passes, ...own]), exchange };
  }
  if (code === packetCodes.accessReject) {
    return { kind: 'rejected', attributes: pickAttributes(told, own), exchange };
  }
  return { kind: 'challenged' };
}

function attributeOf(name: string): NamedAttribute {
  const found = findAttributeByName(name);
  if (!found) throw new RadiusError(`no attribute is called ${JSON.stringify(name)}`);
  return found;
}
