import type { SignIn } from '@countersign/directory';
import type {
  DenialReason,
  DirectoryDocument,
  PasswordJudged,
  Settings,
  UserDocument,
} from '@countersign/verification';
import { PasswordBudget } from './password-budget.ts';

export type AskDirectory = (
  directory: DirectoryDocument,
  who: { name: string } | { object: string },
  password: string,
) => Promise<SignIn>;

/** `target`: by which directory; null: none was asked. */
export type PasswordProof = { judged: PasswordJudged; target: { id: string; name: string } | null };

/** Whoever signs in from one address is refused after so many wrong passwords in the same time. */
const FAILURES_PER_ADDRESS = 50;

export type AskedDirectories = {
  directories: readonly DirectoryDocument[];
  settings: Settings;
  address: string | null;
};

/**
 * The first factor, where a directory holds it: one bind for a sign-in. What a wrong password costs a user is for the
 * rules to record.
 */
export class FirstFactor {
  readonly #ask: AskDirectory;
  readonly #budget = new PasswordBudget();

  constructor(ask: AskDirectory) {
    this.#ask = ask;
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
      const answer = await this.#ask(directory, { object: link.object }, password);
      return { judged: judgedOf(answer), target: targetOf(directory) };
    });
  }

  /** Asks for somebody who is no user: the one directory that knows the name, and nobody by that object is a user. */
  async ofStranger(
    name: string,
    password: string,
    asked: AskedDirectories & { isUser(directoryId: string, object: string): Promise<boolean> },
  ): Promise<PasswordProof> {
    const { directories, settings, isUser } = asked;
    const limit = limitOf(settings, settings.lockout.passwordFailures);
    const subject = `name ${name}`;
    if (this.#budget.isSpent(subject, limit, Date.now())) return refused('password_locked');
    return this.#countForAddress(asked, async () => {
      const candidates = whoseName(name, directories);
      if (candidates.length !== 1) return refused('unknown_user');
      const [directory] = candidates as [DirectoryDocument];
      const answer = await this.#ask(directory, { name }, password);
      const judged = judgedOf(answer);
      if (judged.kind === 'wrong') this.#budget.add(subject, limit, Date.now());
      if (answer.kind === 'accepted' && (await isUser(directory.id, answer.object))) {
        return refused('unknown_user');
      }
      return { judged, target: targetOf(directory) };
    });
  }

  async #countForAddress(
    { settings, address }: AskedDirectories,
    work: () => Promise<PasswordProof>,
  ): Promise<PasswordProof> {
    if (address === null) return work();
    const limit = limitOf(settings, FAILURES_PER_ADDRESS);
    const subject = `address ${address}`;
    if (this.#budget.isSpent(subject, limit, Date.now())) return refused('password_locked');
    const proof = await work();
    if (proof.judged.kind === 'wrong') this.#budget.add(subject, limit, Date.now());
    return proof;
  }
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
  if (answer.kind === 'unavailable') return { kind: 'refused', reason: 'directory_unavailable' };
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
