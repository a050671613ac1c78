import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { decodeChange, type Sealer } from '@countersign/cluster';
import {
  hashDocument,
  namesOf,
  readApplied,
  readDocumentSlice,
  storedJson,
  sumDocuments,
  type Database,
  type ExaminedDocument,
  type UserName,
} from '@countersign/database';
import {
  checkDocument,
  usernameKey,
  type ApiKeyDocument,
  type DocumentKind,
  type UserDocument,
} from '@countersign/verification';

/** Documents looked at in one go: some milliseconds of this process. */
const SLICE = 100;
const PROBLEMS_MAX = 10;
/** Kinds that tables show besides `documents`. */
const SHOWN_KINDS = new Set([
  'user',
  'settings',
  'application',
  'api-key',
  'administrator',
  'node',
  'directory',
  'directory-sync',
  'radius-client',
  'radius-target',
]);

export type TablesExamination = {
  incarnationId: string;
  /** Of the replica when it ended. */
  revision: number;
  documents: number;
  /** The first 10, in one line each. */
  problems: string[];
  problemCount: number;
};

/**
 * Recomputes the digest from the bytes in the tables, and compares what is queried with what was
 * received. Slice by slice while changes are applied, without a lock or a long snapshot: each row's
 * hash is made anew from its own bytes, and in the end the stored hashes together must be the digest
 * that was kept while applying. A row that changes meanwhile is whole before and after.
 * @returns null if the tables now belong to another incarnation than at the start
 */
export async function examineTables(options: {
  db: Database;
  sealer: Sealer;
  signal: AbortSignal;
  /** How long to rest for each millisecond of work, asked after each slice. */
  restFactor(): number;
  onProgress?(documents: number): void;
}): Promise<TablesExamination | null> {
  const { db, sealer, signal } = options;
  const incarnationId = (await readApplied(db))?.incarnation.id;
  const found = new Findings();
  let documents = 0;
  let after = { kind: '', id: '' };
  for (;;) {
    signal.throwIfAborted();
    const startedAt = performance.now();
    const slice = await readDocumentSlice(db, after, SLICE);
    for (const document of slice) found.add(examineDocument(document, sealer));
    documents += slice.length;
    options.onProgress?.(documents);
    const last = slice.at(-1);
    if (!last || slice.length < SLICE) break;
    after = { kind: last.kind, id: last.id };
    const workedMs = performance.now() - startedAt;
    await sleep(workedMs * options.restFactor(), undefined, { signal });
  }
  const sum = await sumDocuments(db);
  if (sum.incarnationId !== incarnationId) return null;
  for (const { kind, id } of sum.strays) {
    found.add(`${kind} ${id} stands in its table and is in no document`);
  }
  if (sum.digest !== sum.stored) {
    const [digest, stored] = [sum.digest.slice(0, 12), sum.stored.slice(0, 12)];
    found.add(
      `at revision ${sum.revision} the documents give digest ${digest}…, kept is ${stored}…`,
    );
  }
  return {
    incarnationId: sum.incarnationId,
    revision: sum.revision,
    documents,
    problems: found.first,
    problemCount: found.count,
  };
}

class Findings {
  readonly first: string[] = [];
  count = 0;

  add(problem: string | null): void {
    if (problem === null) return;
    this.count += 1;
    if (this.first.length < PROBLEMS_MAX) this.first.push(problem);
  }
}

/** What is wrong with it, in one line that names no person; null = nothing. */
function examineDocument(stored: ExaminedDocument, sealer: Sealer): string | null {
  const name = `${stored.kind} ${stored.id}`;
  const hash = hashDocument(stored as ExaminedDocument & { kind: DocumentKind });
  if (hash !== stored.hash)
    return `${name} is not what was received at revision ${stored.revision}`;
  if (!SHOWN_KINDS.has(stored.kind)) return null;
  if (stored.removed) return stored.shown ? `${name} was removed and is still in its table` : null;
  if (!stored.shown) return `${name} is missing in its table`;
  const expected = readReceived(stored, sealer);
  if (expected === null) return `${name} cannot be read`;
  const isSame =
    stored.shown.revision === stored.revision &&
    stored.shown.key === expected.key &&
    areSameNames(stored.shown.names, expected.names) &&
    isDeepStrictEqual(stored.shown.document, expected.document);
  return isSame ? null : `${name} is something else in its table than in its document`;
}

/** The document as its table must show it; `names` of users alone that are not removed. */
type Expected = { document: unknown; key: string | null; names?: UserName[] };

function readReceived({ kind, bytes }: ExaminedDocument, sealer: Sealer): Expected | null {
  try {
    const received = decodeChange(bytes, sealer).document;
    const document = storedJson(checkDocument(kind as DocumentKind, received));
    if (kind === 'user') return expectUser(document as UserDocument);
    return { document, key: kind === 'api-key' ? (document as ApiKeyDocument).secretHash : null };
  } catch {
    return null;
  }
}

function expectUser(document: UserDocument): Expected {
  if (document.removedAt !== undefined) return { document, key: null };
  return { document, key: usernameKey(document.username), names: namesOf(document) };
}

function areSameNames(shown: UserName[] = [], expected: UserName[] = []): boolean {
  const texts = (names: UserName[]) => names.map(({ key, isMail }) => `${isMail} ${key}`);
  return isDeepStrictEqual(new Set(texts(shown)), new Set(texts(expected)));
}
