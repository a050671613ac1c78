import type { LogLayout, LogServerAddress } from './log-layout.ts';
import { formatHostPort } from './log-layout.ts';
import { inboxPrefixOf } from './log-permissions.ts';
import type { LogSignIn } from './log-sign-in.ts';
import { ALL_WITNESSES, NODE_NAME, witnessSubject } from './names.ts';
import { NatsLink, type Log } from './nats-link.ts';

/** What a witness says of itself, once a second. Nobody is asked to believe it: it only tells where it is. */
export type WitnessBeat = {
  name: string;
  version: string;
  /** Comes back in the answer, so that no old one can be given for a new one. */
  nonce: string;
  /** Its log server's address, in use or not. */
  logServer: LogServerAddress;
  /** The layout it is in, whether it runs one of its servers or not. */
  tag: string;
  /** Its log server runs there. */
  runsLogServer: boolean;
  /** How far the mark beside the store has counted. */
  storeMark: number;
  /** Of the member list it has; it is told another one. */
  membersSignature: string;
  certificateSerial: string;
  certificateExpiresAt: string;
  /** PEM, once its certificate is due for renewal. */
  certificateRequest: string | null;
  problems: string[];
};

/** What an agent answers a witness. It is signed with the agent's nkey: a log server could invent it. */
export type WitnessWord = {
  witness: string;
  nonce: string;
  node: string;
  /** CA-signed; null where the witness has it already. */
  members: unknown;
  layout: LogLayout;
  /** The highest incarnation of that log. */
  incarnation: number;
  /** Tags of the layouts that this node has left. */
  left: string[];
  logServers: LogServerAddress[];
  /** The highest mark of the witness's store in its layout that this node has heard of. */
  storeMark: number;
  /** A renewed certificate. */
  certificatePem: string | null;
};

/** As it goes over the line: `word` is the JSON that was signed. */
export type SignedWord = { word: string; by: string; signature: string };

const MAX_BEAT_BYTES = 16 * 1024;
const MAX_WORD_BYTES = 512 * 1024;
const MAX_SERVERS = 8;

/** What witnesses say, unchecked but for who said it. */
export function hearWitnesses(
  link: NatsLink,
  onBeat: (name: string, beat: Record<string, unknown>) => void,
): void {
  link.whenFirstConnected((connection) => {
    connection.subscribe(ALL_WITNESSES, {
      callback: (error, message) => {
        if (error || message.data.length > MAX_BEAT_BYTES) return;
        const name = message.subject.split('.')[2]!;
        const beat = readObject(message.data);
        if (beat && NODE_NAME.test(name)) onBeat(name, beat);
      },
    });
  });
}

/** Only agents can say anything there, and only that witness hears it. */
export function tellWitness(link: NatsLink, witness: string, word: SignedWord): void {
  link.publish(toldSubject(witness), JSON.stringify(word));
}

/** A witness's connections, one to each log server: they may be of different logs. */
export class WitnessLine implements AsyncDisposable {
  readonly #options: {
    name: string;
    signIn: LogSignIn;
    log: Log;
    onWord(word: Record<string, unknown>): void;
  };
  readonly #links = new Map<string, NatsLink>();

  constructor(options: {
    name: string;
    signIn: LogSignIn;
    log: Log;
    onWord(word: Record<string, unknown>): void;
  }) {
    this.#options = options;
  }

  /** How many log servers it is connected to. */
  get connected(): number {
    return [...this.#links.values()].filter((link) => link.isUp).length;
  }

  /** To these servers and no others. */
  connect(servers: readonly LogServerAddress[]): void {
    const wanted = servers
      .slice(0, MAX_SERVERS)
      .map(({ host, clientPort }) => formatHostPort(host, clientPort));
    for (const [address, link] of this.#links) {
      if (wanted.includes(address)) continue;
      this.#links.delete(address);
      void link.close();
    }
    for (const address of wanted) {
      if (!this.#links.has(address)) this.#links.set(address, this.#open(address));
    }
  }

  send(beat: WitnessBeat): void {
    const text = JSON.stringify(beat);
    for (const link of this.#links.values()) link.publish(witnessSubject(beat.name), text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.close()));
  }

  #open(address: string): NatsLink {
    const { name, signIn, log, onWord } = this.#options;
    const link = new NatsLink({ ...signIn, servers: [address], name: `${name} witness`, log });
    link.whenFirstConnected((connection) => {
      connection.subscribe(toldSubject(name), {
        callback: (error, message) => {
          if (error || message.data.length > MAX_WORD_BYTES) return;
          const word = readObject(message.data);
          if (word) onWord(word);
        },
      });
    });
    return link;
  }
}

const toldSubject = (witness: string) => `${inboxPrefixOf(witness, 'witness')}.told`;

/** What throws in a subscription makes the whole connection deaf. */
function readObject(data: Uint8Array): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
