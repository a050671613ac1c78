import { AsyncLocalStorage } from 'node:async_hooks';
import type { PasswordTarget } from '@countersign/api';
import type { SignIn } from '@countersign/directory';
import type {
  DenialReason,
  DirectoryDocument,
  PasswordJudged,
  Settings,
  UserDocument,
} from '@countersign/verification';
import { PasswordBudget } from './password-budget.ts';

/** Directories as this node reaches them; {@link SignIn} has what is answered. */
export type DirectoriesToAsk = {
  resolve(
    directory: DirectoryDocument,
    name: string,
  ): Promise<
    | { kind: 'found'; object: string }
    | { kind: 'unknown' | 'ambiguous' }
    | { kind: 'unavailable'; problem: string }
  >;
  signIn(directory: DirectoryDocument, who: { object: string }, password: string): Promise<SignIn>;
};

/** `target`: by which directory; null: none was asked. */
export type PasswordProof = { judged: PasswordJudged; target: { id: string; name: string } | null };

/** Whoever signs in from one address is refused after so many wrong passwords in the same time. */
const FAILURES_PER_ADDRESS = 50;
/** Of the verifications that a worker has under way at once, so many may wait for directories. */
const WAITING_MAX = 1000;

/** What a test of a sign-in hears besides its verdict. */
type Hear = (proof: PasswordProof & { tookMs: number }) => void;
const hearing = new AsyncLocalStorage<Hear>();

/** Runs `run`; `hear` is told of each first factor that is judged for it, and what that took. */
export function hearFirstFactors<T>(hear: Hear, run: () => Promise<T>): Promise<T> {
  return hearing.run(hear, run);
}

export type AskedDirectories = {
  directories: readonly DirectoryDocument[];
  settings: Settings;
  address: string | null;
};

export type AskedForStranger = AskedDirectories & {
  isUser(directoryId: string, object: string): Promise<boolean>;
};

/**
 * The first factor, where a directory holds it: one bind for a sign-in. What a wrong password costs a user is for the
 * rules to record.
 */
export class FirstFactor {
  readonly #toAsk: DirectoriesToAsk;
  readonly #budget = new PasswordBudget();
  #waiting = 0;

  constructor(toAsk: DirectoriesToAsk) {
    this.#toAsk = toAsk;
  }

  /** Asks the directory that the user is from, about the object that the user is: no name counts there. */
  async ofUser(
    user: UserDocument,
    password: string,
    asked: AskedDirectories,
  ): Promise<PasswordProof> {
    const { directory: link } = user;
    const directory = asked.directories.find(({ id }) => id === link?.id);
    if (!link || !directory) return refused('no_directory');
    return this.#countForAddress(asked, async () => {
      const judged = await this.#ask(directory, link.object, password);
      return { judged, target: targetOf(directory) };
    });
  }

  /** Asks a server that is no directory, about a user or whoever the server knows by the name that was typed. */
  async atTarget(target: PasswordTarget, asked: AskedDirectories): Promise<PasswordProof> {
    return this.#countForAddress(asked, async () => {
      const judged = await this.#bounded(refused('target_unavailable').judged, () =>
        target.prove(),
      );
      return { judged, target };
    });
  }

  /**
   * Asks for somebody who is no user: the one directory that the name is of, about whom it is there. Whoever is a user
   * by another of their names is not asked for here: those guesses would count nowhere (rule 2).
   */
  async ofStranger(
    name: string,
    password: string,
    asked: AskedForStranger,
  ): Promise<PasswordProof> {
    const { settings } = asked;
    return this.#countForAddress(asked, async () => {
      const stranger = await this.#findStranger(name, asked);
      if ('judged' in stranger) return stranger;
      const { directory, object } = stranger;
      const limit = limitOf(settings, settings.lockout.passwordFailures);
      const subject = `object ${directory.id} ${object}`;
      if (this.#budget.isSpent(subject, limit, Date.now())) return refused('password_locked');
      // Until it is answered it counts: guesses at once are no more than the limit.
      this.#budget.add(subject, limit, Date.now());
      const judged = await this.#ask(directory, object, password);
      if (!mayBeWrong(judged)) this.#budget.giveBack(subject);
      return { judged, target: targetOf(directory) };
    });
  }

  /**
   * Whether somebody whose password others have checked is no user, by none of their names: the one directory that the
   * name is of says who is meant (rule 2). Without directories users have no other names.
   */
  async knowStranger(name: string, asked: AskedForStranger): Promise<PasswordProof> {
    if (asked.directories.length === 0) return { judged: { kind: 'right' }, target: null };
    const stranger = await this.#findStranger(name, asked);
    if ('judged' in stranger) return stranger;
    return { judged: { kind: 'right' }, target: targetOf(stranger.directory) };
  }

  async #findStranger(
    name: string,
    { directories, isUser }: AskedForStranger,
  ): Promise<{ directory: DirectoryDocument; object: string } | PasswordProof> {
    const candidates = whoseName(name, directories);
    if (candidates.length !== 1) return refused('unknown_user');
    const [directory] = candidates as [DirectoryDocument];
    const found = await this.#resolve(directory, name);
    if (found.kind === 'unavailable') return refused('directory_unavailable');
    if (found.kind !== 'found') return refused('unknown_user');
    const { object } = found;
    return (await isUser(directory.id, object)) ? refused('unknown_user') : { directory, object };
  }

  #ask(directory: DirectoryDocument, object: string, password: string): Promise<PasswordJudged> {
    return this.#bounded(refused('directory_unavailable').judged, async () =>
      judgedOf(await this.#toAsk.signIn(directory, { object }, password)),
    );
  }

  #resolve(directory: DirectoryDocument, name: string) {
    const unavailable = { kind: 'unavailable', problem: 'too many wait' } as const;
    return this.#bounded(unavailable, () => this.#toAsk.resolve(directory, name));
  }

  /** Directories that hang must not take the places of those who need none. */
  async #bounded<T, U>(otherwise: U, work: () => Promise<T>): Promise<T | U> {
    if (this.#waiting >= WAITING_MAX) return otherwise;
    this.#waiting += 1;
    try {
      return await work();
    } finally {
      this.#waiting -= 1;
    }
  }

  async #countForAddress(
    asked: AskedDirectories,
    work: () => Promise<PasswordProof>,
  ): Promise<PasswordProof> {
    const hear = hearing.getStore();
    if (!hear) return this.#countWithin(asked, work);
    const startedAt = performance.now();
    const proof = await this.#countWithin(asked, work);
    hear({ ...proof, tookMs: performance.now() - startedAt });
    return proof;
  }

  async #countWithin(
    { settings, address }: AskedDirectories,
    work: () => Promise<PasswordProof>,
  ): Promise<PasswordProof> {
    if (address === null) return work();
    const limit = limitOf(settings, FAILURES_PER_ADDRESS);
    const subject = `address ${address}`;
    if (this.#budget.isSpent(subject, limit, Date.now())) return refused('password_locked');
    const proof = await work();
    if (mayBeWrong(proof.judged)) this.#budget.add(subject, limit, Date.now());
    return proof;
  }
}

function mayBeWrong(judged: PasswordJudged): boolean {
  return judged.kind === 'wrong' || (judged.kind === 'refused' && judged.mayBeWrong === true);
}

/** Nothing was asked, and nothing is proven. */
export function refused(reason: DenialReason): PasswordProof {
  return { judged: { kind: 'refused', reason }, target: null };
}

function targetOf({ id, name }: DirectoryDocument): { id: string; name: string } {
  return { id, name };
}

function limitOf({ lockout }: Settings, failures: number): { failures: number; minutes: number } {
  return { failures, minutes: lockout.passwordMinutes };
}

/** Those whose domain stands in the name; a name without one is everybody's. */
function whoseName(
  name: string,
  directories: readonly DirectoryDocument[],
): readonly DirectoryDocument[] {
  const [before, behind] = [/^([^\\]+)\\/.exec(name)?.[1], /@([^@]+)$/.exec(name)?.[1]];
  const domain = (before ?? behind)?.toLowerCase();
  if (domain === undefined) return directories;
  const named = directories.filter(({ domains }) =>
    domains.some((each) => each.toLowerCase() === domain),
  );
  // Mail addresses and principal names may end in what is no domain of any.
  return named.length > 0 || before !== undefined ? named : directories;
}

function judgedOf(answer: SignIn): PasswordJudged {
  if (answer.kind === 'accepted') return { kind: 'right' };
  if (answer.kind === 'unavailable') {
    const doubt = answer.mayBeWrong ? { mayBeWrong: true as const } : {};
    return { kind: 'refused', reason: 'directory_unavailable', ...doubt };
  }
  if (answer.reason === 'wrong_password') return { kind: 'wrong' };
  return { kind: 'refused', reason: REASONS[answer.reason] };
}

const REASONS = {
  unknown_name: 'unknown_user',
  ambiguous_name: 'unknown_user',
  account_disabled: 'account_disabled',
  account_locked: 'account_locked',
  account_expired: 'account_expired',
  password_expired: 'password_expired',
  must_change_password: 'must_change_password',
  not_now: 'account_not_now',
} as const satisfies Record<string, DenialReason>;
