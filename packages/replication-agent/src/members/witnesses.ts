import {
  hearWitnesses,
  tellWitness,
  type Log,
  type LogLayout,
  type LogServerAddress,
  type NatsLink,
  type WitnessBeat,
  type WitnessReport,
  type WitnessWord,
} from '@countersign/cluster';
import {
  isDueForRenewal,
  publicKeyOfSeed,
  readNodeCertificate,
  signAsUser,
  type MemberList,
} from '@countersign/identity';
import { z } from 'zod';
import type { StoreMarks } from '../store-marks.ts';

export type SeenWitness = WitnessBeat & { seenAt: number; seenAtWall: string };

type Options = {
  node: string;
  /** Null: the cluster is open on loopback, where there are no witnesses. */
  identity: { agentSeed: string; caPem: string } | null;
  link: NatsLink;
  layout: LogLayout;
  /** The incarnation that this node's log is in. */
  incarnationNumber: number;
  /** Tags of the layouts this node has left. */
  left(): string[];
  logServers(): LogServerAddress[];
  storeMarks: StoreMarks;
  isMaster(): boolean;
  renew(args: {
    name: string;
    certificateRequest: string;
  }): Promise<{ certificatePem: string } | { why: string }>;
  log: Log;
};

const ONLINE_WITHIN_MS = 3000;
const ANSWER_EVERY_MS = 200;
/** A renewal is a change of the log; what came to nothing is tried again after this. */
const RENEW_EVERY_MS = 60_000;

const NOT_RENEWED = "a witness's certificate was not renewed";

const text = (max: number) => z.string().min(1).max(max);
const port = z.int().min(1).max(65_535);
const beatShape = z.object({
  name: text(63),
  version: text(64),
  nonce: text(64),
  logServer: z.object({ name: text(63), host: text(253), clientPort: port, routePort: port }),
  tag: text(32),
  runsLogServer: z.boolean(),
  storeMark: z.int().min(0),
  membersSignature: text(256),
  certificateSerial: text(64),
  certificateExpiresAt: z.iso.datetime(),
  certificateRequest: text(2048).nullable(),
  problems: z.array(text(300)).max(8),
});

/**
 * The witnesses of this cluster: which are there, and what each has to be told. A witness can open nothing of the log,
 * so agents tell it what it needs: the signed member list, where the log is, and its renewed certificate.
 */
export class Witnesses {
  readonly #options: Options;
  readonly #seen = new Map<string, SeenWitness>();
  readonly #answeredAt = new Map<string, number>();
  readonly #renewals = new Map<string, { triedAt: number; certificatePem: string | null }>();
  #members: MemberList | null = null;

  constructor(options: Options) {
    this.#options = options;
    if (!options.identity) return;
    hearWitnesses(options.link, (name, beat) => this.#hear(name, beat));
  }

  noteMembers(list: MemberList): void {
    if (list.version >= (this.#members?.version ?? 0)) this.#members = list;
  }

  /** Whether a witness of that name belongs to the cluster. */
  isWitness(name: string): boolean {
    return this.#names().includes(name);
  }

  /** Whether it is certain that no member has that name: a removed one's log server is none any more. */
  isGone(name: string): boolean {
    return this.#members !== null && !this.#members.members.some((member) => member.name === name);
  }

  online(): SeenWitness[] {
    return [...this.#seen.values()].filter(
      (seen) => this.isWitness(seen.name) && performance.now() - seen.seenAt < ONLINE_WITHIN_MS,
    );
  }

  /** For the others, and for people. */
  reports(): WitnessReport[] {
    const online = new Set(this.online().map(({ name }) => name));
    const members = this.#members?.members.filter(({ role }) => role === 'witness') ?? [];
    return members.map(({ name, certificateExpiresAt }) => {
      const seen = this.#seen.get(name);
      const runs = seen?.runsLogServer === true && seen.tag === this.#options.layout.tag;
      return {
        name,
        online: online.has(name),
        lastSeen: seen?.seenAtWall ?? null,
        version: seen?.version ?? null,
        runsLogServer: runs,
        certificateExpiresAt: seen?.certificateExpiresAt ?? certificateExpiresAt,
        problems: online.has(name) ? seen!.problems : [],
      };
    });
  }

  /** The log has moved: witnesses that are heard need not ask for it. */
  tellMove(layout: LogLayout): void {
    for (const seen of this.online()) this.#answer(seen, layout);
  }

  #names(): string[] {
    return (this.#members?.members ?? [])
      .filter(({ role }) => role === 'witness')
      .map(({ name }) => name);
  }

  #hear(name: string, value: Record<string, unknown>): void {
    const parsed = beatShape.safeParse(value);
    if (!parsed.success || parsed.data.name !== name || !this.isWitness(name)) return;
    const beat = parsed.data;
    if (!this.#isAt(name, beat.logServer)) return;
    const seen = { ...beat, seenAt: performance.now(), seenAtWall: new Date().toISOString() };
    // It says everything at each log server it is connected to.
    const isRepeated = this.#seen.get(name)?.nonce === beat.nonce;
    this.#seen.set(name, seen);
    if (isRepeated || performance.now() - (this.#answeredAt.get(name) ?? -1e9) < ANSWER_EVERY_MS) {
      return;
    }
    this.#answeredAt.set(name, performance.now());
    const { storeMarks, layout } = this.#options;
    const heardMark = storeMarks.heard(layout.tag)[name] ?? 0;
    this.#answer(seen, layout, heardMark);
    if (beat.runsLogServer) {
      storeMarks.noteOne({ node: name, logServerTag: beat.tag, storeMark: beat.storeMark });
    }
    if (beat.certificateRequest === null) return;
    this.#renew(name, beat.certificateRequest).catch((error: unknown) => {
      this.#options.log.warn({ witness: name, error: String(error) }, NOT_RENEWED);
    });
  }

  /** Nobody is connected to where a witness says that it is, but for the hosts that it was let in with. */
  #isAt(name: string, server: LogServerAddress): boolean {
    const member = this.#members?.members.find((one) => one.name === name);
    return server.name === name && [name, ...(member?.hosts ?? [])].includes(server.host);
  }

  #answer(seen: SeenWitness, layout: LogLayout, storeMark = 0): void {
    const { node, identity, link, log } = this.#options;
    const members = this.#members;
    if (!identity || !members) return;
    const word: WitnessWord = {
      witness: seen.name,
      nonce: seen.nonce,
      node,
      members: members.signature === seen.membersSignature ? null : members,
      layout,
      incarnation: this.#options.incarnationNumber,
      left: this.#options.left(),
      logServers: this.#options.logServers(),
      storeMark,
      certificatePem: this.#renewedFor(seen, identity.caPem),
    };
    const signed = JSON.stringify(word);
    try {
      tellWitness(link, seen.name, {
        word: signed,
        by: publicKeyOfSeed(identity.agentSeed),
        signature: signAsUser(identity.agentSeed, signed),
      });
    } catch (error) {
      log.warn({ witness: seen.name, error: String(error) }, 'a witness could not be told');
    }
  }

  #renewedFor({ name, certificateSerial }: SeenWitness, caPem: string): string | null {
    const certificatePem = this.#renewals.get(name)?.certificatePem ?? null;
    if (certificatePem === null) return null;
    const { serial } = readNodeCertificate(certificatePem, { caPem });
    return serial === certificateSerial ? null : certificatePem;
  }

  /** The master asks for it; the request itself is signed with the key that the certificate is for. */
  async #renew(name: string, certificateRequest: string): Promise<void> {
    const { isMaster, identity, log } = this.#options;
    const known = this.#renewals.get(name);
    const now = performance.now();
    if (!identity || !isMaster() || now - (known?.triedAt ?? -1e9) < RENEW_EVERY_MS) return;
    const renewal = { triedAt: now, certificatePem: known?.certificatePem ?? null };
    if (known?.certificatePem) {
      const last = readNodeCertificate(known.certificatePem, { caPem: identity.caPem });
      // It has not taken up the last one yet.
      if (!isDueForRenewal(last, Date.now())) return;
    }
    this.#renewals.set(name, renewal);
    const answer = await this.#options.renew({ name, certificateRequest });
    if ('why' in answer) {
      log.warn({ witness: name, why: answer.why }, NOT_RENEWED);
      return;
    }
    renewal.certificatePem = answer.certificatePem;
    log.info({ witness: name }, "a witness's certificate was renewed");
  }
}
