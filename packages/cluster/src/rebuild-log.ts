import { CHANGE_FORMAT, encodeChange, type Change } from './change.ts';
import { ensureChanges, type Incarnation, type StreamLimits } from './incarnation.ts';
import { publishIf, readLast } from './jetstream.ts';
import { namesOf } from './names.ts';
import { SilenceError, type NatsLink, type Sealer } from './nats-link.ts';

export class RebuildError extends Error {
  override name = 'RebuildError';
}

/** A change as an earlier incarnation had it; its place is given anew. */
export type OldChange = Omit<Change, 'format' | 'revision' | 'epoch'>;

export type PublishedChange = { kind: string; id: string; revision: number; bytes: Uint8Array };

/** The last message of a rebuild: without it the whole incarnation is worth nothing. */
export type Seal = {
  /** Documents before it. */
  count: number;
  /** Their digest, in hex. */
  digest: string;
};

const WINDOW = 128;
const PUBLISH_TIMEOUT_MS = 5000;
const READ_TIMEOUT_MS = 2000;

/** Fills the empty change log of a new incarnation; the first message fails unless nobody else does. */
export class RebuildLog {
  readonly #link: NatsLink;
  readonly #incarnation: Incarnation;
  readonly #sealer: Sealer;
  #lastSequence = 0;
  #open = new Set<Promise<void>>();
  #failure: RebuildError | null = null;

  constructor(link: NatsLink, incarnation: Incarnation, sealer: Sealer) {
    this.#link = link;
    this.#incarnation = incarnation;
    this.#sealer = sealer;
  }

  /**
   * Sends one change behind all before it, 128 of them in flight.
   * @throws RebuildError when one of those was refused or not answered: this incarnation is lost then
   */
  async publish(change: OldChange): Promise<PublishedChange> {
    // The first alone: of two who fill the same log one must notice before it sends more.
    const mostOpen = this.#lastSequence === 1 ? 1 : WINDOW;
    if (this.#open.size >= mostOpen) await Promise.race(this.#open);
    if (this.#failure) throw this.#failure;
    const { baseRevision, baseEpoch, number } = this.#incarnation;
    const lastSequence = this.#lastSequence;
    this.#lastSequence += 1;
    const revision = lastSequence + 1 + baseRevision;
    const placed = { ...change, format: CHANGE_FORMAT, revision, epoch: baseEpoch };
    const bytes = encodeChange(placed, this.#sealer);
    const subject = namesOf(number).change(change.kind, change.id);
    const sent = publishIf(this.#link, subject, bytes, { lastSequence }, PUBLISH_TIMEOUT_MS)
      .then((outcome) => {
        if (outcome.kind === 'stored') return;
        const why = outcome.kind === 'silent' ? outcome.why : 'another rebuild was first';
        this.#failure ??= new RebuildError(`incarnation ${number} was not finished: ${why}`);
      })
      .finally(() => this.#open.delete(sent));
    this.#open.add(sent);
    return { kind: change.kind, id: change.id, revision, bytes };
  }

  /** Waits for everything sent, then ends the rebuild. Throws {@link RebuildError}. */
  async seal(seal: Seal, by: { changeId: string; at: string; actor: string }): Promise<void> {
    await Promise.all(this.#open);
    if (this.#failure) throw this.#failure;
    await this.publish({
      ...by,
      commandId: null,
      kind: 'seal',
      id: String(this.#incarnation.number),
      removed: false,
      document: seal,
      commands: [],
    });
    await Promise.all(this.#open);
    if (this.#failure) throw this.#failure;
  }
}

/** Whether the rebuild of this incarnation was finished. Throws {@link SilenceError}. */
export async function hasSeal(
  link: NatsLink,
  { number }: Pick<Incarnation, 'number'>,
): Promise<boolean> {
  return (await readSeal(link, number)) === 'sealed';
}

async function readSeal(link: NatsLink, number: number): Promise<'sealed' | 'void' | 'open'> {
  const { changes, seal } = namesOf(number);
  const read = await readLast(link, changes, seal, READ_TIMEOUT_MS);
  // A log that is still looking for its leader has not lost its seal.
  if (read.kind === 'silent') throw new SilenceError(read.why);
  if (read.kind === 'absent') return 'open';
  return isVoid(read.message.data) ? 'void' : 'sealed';
}

/** What {@link giveUpUnsealed} puts where the seal would stand. */
export function isVoid(sealBytes: Uint8Array): boolean {
  return sealBytes.length === 0;
}

/**
 * Sees to it that an incarnation without a seal never gets one, however late its rebuilder wakes up: an empty message
 * takes the seal's subject, by compare-and-set, and with it the position that the seal would be written at. Has to be
 * done before the next number is taken: whoever follows a sealed incarnation may live in it already.
 * @throws RebuildError when it is sealed, or needs no seal; {@link SilenceError}: call again
 */
export async function giveUpUnsealed(
  link: NatsLink,
  incarnation: Incarnation,
  options: { logReplicas: number; limits: StreamLimits },
): Promise<void> {
  const { number, by } = incarnation;
  if (by === null) throw new RebuildError(`incarnation ${number} is in use`);
  const names = namesOf(number);
  // Its rebuilder may not have come that far, and would make them when it wakes up.
  await ensureChanges(link, names, options);
  const condition = { lastSubjectSequence: 0 };
  const outcome = await publishIf(link, names.seal, new Uint8Array(), condition, READ_TIMEOUT_MS);
  if (outcome.kind === 'stored') return;
  if (outcome.kind === 'silent') throw new SilenceError(outcome.why);
  const standing = await readSeal(link, number);
  if (standing === 'sealed') {
    throw new RebuildError(`the rebuild of incarnation ${number} by ${by} was finished meanwhile`);
  }
  // What refused it may not be there to be read yet.
  if (standing === 'open') throw new SilenceError(`the seal of incarnation ${number} is undecided`);
}
