import { setTimeout as sleep } from 'node:timers/promises';
import type { KeyRotationProgress, Membership } from '@countersign/cluster';
import { listNodes } from '@countersign/database';
import { KEY_GENERATIONS_MAX, KEY_RING_ID, type KeyRingDocument } from '@countersign/verification';
import type { KeyRingReport, SealedGeneration } from '../config.ts';
import type { AgentEvents } from '../events.ts';
import type { Mastership } from '../mastership.ts';
import { readMembers } from '../members/member-documents.ts';
import { readKeyRing } from './read-key-ring.ts';
import { resealDocuments, type ResealingOptions, type ResealProgress } from './reseal-documents.ts';

export type KeyRotationOptions = ResealingOptions & {
  mastership: Pick<Mastership, 'pipeline' | 'lane' | 'isActive' | 'term' | 'rewrite'>;
  membership: Pick<Membership, 'find' | 'online'>;
  keyRing(): KeyRingReport;
  /** By this node's supervisor: agents never have a cluster key. */
  makeGeneration(): Promise<SealedGeneration>;
  events: Pick<AgentEvents, 'keyRotationBegan' | 'keyActivated' | 'keyRetired'>;
  /** What was sealed under the old generation and is not stored is over after this long. */
  graceMs?: number;
};

export type RotationBegun =
  /** `isNew` false: it was under way; another follows it where `reason` is to be met anew. */
  { kind: 'begun'; to: string; isNew: boolean } | { kind: 'unknown' } | { kind: 'too many' };

type Wish = { reason: string; by: string };

const EVERY_MS = 500;
/** Questions are open for at most 10 minutes, and what they hold lies parked for 15. */
const GRACE_MS = 15 * 60_000;

/**
 * The change of the cluster's key, one step after the other, each a change of the log that any master goes on from:
 * a new generation is told to all nodes; when all of them have it, it is the active one; all documents are brought under it;
 * then the old one is retired.
 */
export class KeyRotation {
  readonly #options: KeyRotationOptions;
  readonly #graceMs: number;
  #progress: KeyRotationProgress | null = null;
  #pass: ResealProgress | null = null;
  /** The generation under which everything was, the last time that all was looked at. */
  #cleanUnder: string | null = null;

  constructor(options: KeyRotationOptions) {
    this.#options = options;
    this.#graceMs = options.graceMs ?? GRACE_MS;
  }

  /** Null while there is none, or another node is master. */
  get progress(): KeyRotationProgress | null {
    return this.#options.mastership.isActive ? this.#progress : null;
  }

  /**
   * Begins one. Where one is under way that will do too, unless `always`: somebody may have got hold of the generation
   * that comes, so another one follows.
   */
  async begin({ reason, by, always }: Wish & { always: boolean }): Promise<RotationBegun> {
    const generation = await this.#options.makeGeneration();
    let begun = { kind: 'unknown' } as RotationBegun;
    const isWritten = await this.#write((before) => {
      const after = beginOn(before, { generation, keyRing: this.#options.keyRing(), reason, by });
      if (after === 'too many') {
        begun = { kind: 'too many' };
        return null;
      }
      begun = {
        kind: 'begun',
        to: after?.rotation.to ?? before!.rotation.to,
        isNew: after !== null,
      };
      if (after || !always) return after;
      return { ...before!, rotation: { ...before!.rotation, next: { reason, by } } };
    });
    if (!isWritten) return { kind: 'unknown' };
    if (begun.kind === 'begun' && begun.isNew) this.#tellBegan(generation.id, { reason, by });
    return begun;
  }

  /** While this node is master. Ends with `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { mastership, log } = this.#options;
    while (!signal.aborted) {
      try {
        const term = mastership.isActive ? mastership.term : null;
        if (term) await this.#tend(AbortSignal.any([signal, term.signal]));
      } catch (error) {
        log.warn({ error: String(error) }, 'the change of the cluster key waits');
      }
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #tend(signal: AbortSignal): Promise<void> {
    const { db, sealer, keys } = this.#options;
    const document = await readKeyRing(db, sealer);
    const rotation = document?.rotation;
    if (!document || !rotation || rotation.finishedAt !== null) {
      this.#progress = null;
      await this.#beginWhereDue(rotation?.startedAt);
      return;
    }
    const waitsFor = await this.#findLate(document);
    this.#note(document, waitsFor);
    if (rotation.activatedAt === null) {
      if (waitsFor.length === 0) await this.#activate(rotation.to);
      return;
    }
    // This node's own supervisor has not heard of it.
    if (keys.document.keyId !== document.active) return;
    if (this.#cleanUnder !== document.active) await this.#reseal(document, waitsFor, signal);
    const isOver = Date.now() >= Date.parse(rotation.activatedAt) + this.#graceMs;
    if (this.#cleanUnder !== document.active || !isOver || waitsFor.length > 0) return;
    // Once more: a document may have come from another master's hands meanwhile.
    if (await this.#reseal(document, waitsFor, signal)) await this.#retire(rotation.to);
  }

  /** Whoever was removed had the keys; a master that removed it may have died before it changed them. */
  async #beginWhereDue(lastStartedAt = ''): Promise<void> {
    const { node } = this.#options;
    const dueSince = (await readMembers(this.#options))?.document.rotationDueSince ?? null;
    if (dueSince === null || Date.parse(dueSince) <= Date.parse(lastStartedAt)) return;
    await this.begin({ reason: 'a node was removed', by: `node ${node}`, always: false });
  }

  /** True when there was nothing left to write. */
  async #reseal(
    document: KeyRingDocument,
    waitsFor: string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const onProgress = (progress: ResealProgress) => {
      this.#pass = progress;
      this.#note(document, waitsFor);
    };
    const pass = await resealDocuments(this.#options, { signal, onProgress });
    const isClean = pass?.written === 0;
    this.#cleanUnder = isClean ? document.active : null;
    this.#note(document, waitsFor);
    return isClean;
  }

  /** Nodes that are not known to be as far as the document: those of this log, and whoever else is heard. */
  async #findLate({ generations, active }: KeyRingDocument): Promise<string[]> {
    const { db, membership } = this.#options;
    const known = (await listNodes(db)).map(({ name }) => name);
    const heard = membership.online().map(({ node }) => node);
    const wanted = generations.filter(({ retiredAt }) => retiredAt === undefined);
    const isLate = (name: string) => {
      const ring = membership.find(name)?.keyRing;
      if (ring?.active !== active) return true;
      return wanted.some(({ id }) => ring.generations.every((generation) => generation.id !== id));
    };
    return [...new Set([...known, ...heard])].filter(isLate).toSorted();
  }

  async #activate(to: string): Promise<void> {
    const isWritten = await this.#write((before) => {
      if (before?.rotation.to !== to || before.rotation.activatedAt !== null) return null;
      const rotation = { ...before.rotation, activatedAt: new Date().toISOString() };
      return { ...before, active: to, rotation };
    });
    const from = this.#progress?.from;
    if (isWritten && from !== undefined) this.#options.events.keyActivated({ from, to });
  }

  async #retire(to: string): Promise<void> {
    let finished = null as KeyRingDocument['rotation'] | null;
    const isWritten = await this.#write((before) => {
      if (before?.rotation.to !== to || before.rotation.finishedAt !== null) return null;
      const at = new Date().toISOString();
      finished = before.rotation;
      const generations = before.generations.map(({ sealed: _sealed, ...generation }) =>
        generation.id === finished!.from ? { ...generation, retiredAt: at } : generation,
      );
      const { next: _next, ...rotation } = before.rotation;
      return { ...before, generations, rotation: { ...rotation, finishedAt: at } };
    });
    if (!isWritten || !finished) return;
    this.#options.events.keyRetired({ from: finished.from, to });
    if (finished.next) await this.begin({ ...finished.next, always: false });
  }

  async #write(make: (before: KeyRingDocument | null) => KeyRingDocument | null): Promise<boolean> {
    const { db, sealer, mastership } = this.#options;
    return mastership.rewrite({
      kind: 'key-ring',
      id: KEY_RING_ID,
      make: async () => make(await readKeyRing(db, sealer)),
    });
  }

  #tellBegan(to: string, wish: Wish): void {
    const from = this.#options.keyRing().active;
    this.#options.events.keyRotationBegan({ from, to, ...wish });
  }

  #note({ rotation, active }: KeyRingDocument, waitsFor: string[]): void {
    const { from, to, reason, by, startedAt, activatedAt } = rotation;
    const { seen = 0, of = 0 } = this.#pass ?? {};
    const retiresAt =
      activatedAt === null ? null : new Date(Date.parse(activatedAt) + this.#graceMs).toISOString();
    const isClean = activatedAt !== null && this.#cleanUnder === active;
    const known = { from, to, reason, by, startedAt, activatedAt, waitsFor, retiresAt, isClean };
    this.#progress = { ...known, seen, of };
  }
}

/** Null: one is under way. */
function beginOn(
  before: KeyRingDocument | null,
  about: Wish & { generation: SealedGeneration; keyRing: KeyRingReport },
): KeyRingDocument | 'too many' | null {
  if (before && before.rotation.finishedAt === null) return null;
  const { generation, keyRing, reason, by } = about;
  const first = keyRing.generations
    .filter(({ id }) => id === keyRing.active)
    .map(({ id, madeAt }) => ({ id, madeAt }));
  const generations = [...(before?.generations ?? first), generation];
  if (generations.length > KEY_GENERATIONS_MAX) return 'too many';
  const active = before?.active ?? keyRing.active;
  return {
    id: KEY_RING_ID,
    active,
    generations,
    rotation: {
      ...{ reason, by, from: active, to: generation.id },
      startedAt: new Date().toISOString(),
      activatedAt: null,
      finishedAt: null,
    },
  };
}
