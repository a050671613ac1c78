import type { Sealer } from './nats-link.ts';

/** Highest format of a change that this version reads and writes. */
export const CHANGE_FORMAT = 1;

/** What a command did, carried with the document for 10 minutes so that a repeat gets the first result anywhere. */
export type CommandResult = {
  commandId: string;
  /** Hash of what the caller asked for: the same id with another hash is a conflict. */
  contentHash: string;
  at: string;
  result: Record<string, unknown>;
};

/** One document set or removed, at one revision. */
export type Change = {
  format: number;
  revision: number;
  epoch: number;
  changeId: string;
  commandId: string | null;
  kind: string;
  id: string;
  at: string;
  actor: string;
  removed: boolean;
  document: unknown;
  commands: CommandResult[];
};

/** One message of a barrier; an epoch exists once message `of` stands. */
export type EpochMark = {
  format: number;
  revision: number;
  epoch: number;
  instance: string;
  node: string;
  at: string;
  index: number;
  of: number;
};

type WireChange = Omit<Change, 'document' | 'commands'> & { sealed: string };

/** The envelope stays readable to the log servers; document and results are sealed to their place in the log. */
export function encodeChange(change: Change, sealer: Sealer): Buffer {
  const { document, commands, ...envelope } = change;
  const body = Buffer.from(JSON.stringify({ document, commands }));
  const sealed = Buffer.from(sealer.seal(body, contextOf(change))).toString('base64');
  return Buffer.from(JSON.stringify({ ...envelope, sealed } satisfies WireChange));
}

export class ChangeFormatError extends Error {
  override name = 'ChangeFormatError';
}

/** Throws {@link ChangeFormatError} for a newer format, and whatever `sealer.open` throws for a foreign key. */
export function decodeChange(bytes: Uint8Array, sealer: Sealer): Change {
  const wire = JSON.parse(Buffer.from(bytes).toString()) as WireChange;
  if (wire.format > CHANGE_FORMAT) {
    throw new ChangeFormatError(
      `change ${wire.revision} has format ${wire.format}, this version reads up to ${CHANGE_FORMAT}: upgrade this node`,
    );
  }
  const { sealed, ...envelope } = wire;
  const opened = sealer.open(Buffer.from(sealed, 'base64'), contextOf(envelope));
  const body = JSON.parse(Buffer.from(opened).toString()) as Pick<Change, 'document' | 'commands'>;
  return { ...envelope, ...body };
}

/** What is sealed of a change, as it stands in the log. */
export function sealedPartOf(bytes: Uint8Array): Buffer {
  const { sealed } = JSON.parse(Buffer.from(bytes).toString()) as WireChange;
  return Buffer.from(sealed, 'base64');
}

export function encodeEpochMark(mark: EpochMark): Buffer {
  return Buffer.from(JSON.stringify(mark));
}

export function decodeEpochMark(bytes: Uint8Array): EpochMark {
  return JSON.parse(Buffer.from(bytes).toString()) as EpochMark;
}

// A document moved to another id, revision or epoch does not open.
function contextOf(change: { kind: string; id: string; revision: number; epoch: number }): string {
  return `change|${change.kind}|${change.id}|${change.revision}|${change.epoch}`;
}
