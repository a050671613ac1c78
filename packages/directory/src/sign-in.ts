import { PasswordPolicyControl } from 'ldapts';
import type { Connection } from './connection.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { DirectoryError } from './directory-error.ts';
import { readBindAnswer } from './sign-in-reasons.ts';
import type { Servers } from './servers.ts';
import type { DirectoryConfig, SignIn } from './types.ts';

const PASSWORD_BYTES_MAX = 1024;

/**
 * Whether a password may be asked of a directory at all. Directories take an empty one for nobody
 * at all and say yes; servers in C take one that begins with NUL for empty.
 */
export function canBePassword(password: string): boolean {
  const sizeBytes = Buffer.byteLength(password);
  // What is not well formed would be sent as something else than was typed.
  if (password.includes('\0') || !password.isWellFormed()) return false;
  return sizeBytes > 0 && sizeBytes <= PASSWORD_BYTES_MAX;
}

type Person = { object: string; dn: string };

/** isOver: nobody waits any more, so nothing is sent. */
export type Asking = { isOver: boolean; isSent: boolean };

/** One bind as a person who was looked up. */
export async function signInAs(
  person: Person,
  password: string,
  {
    config,
    pool,
    servers,
    asking,
  }: { config: DirectoryConfig; pool: ConnectionPool; servers: Servers; asking: Asking },
): Promise<SignIn> {
  const isPolicyAsked = config.type === 'ldap';
  for (let attempt = 1; ; attempt += 1) {
    let used: Connection | undefined;
    let wasKept = false;
    const policy = new PasswordPolicyControl();
    try {
      const answer = await pool.use((connection, isUsed) => {
        if (asking.isOver) throw new DirectoryError('unreachable', 'it was not asked in time');
        asking.isSent = true;
        [used, wasKept] = [connection, isUsed];
        return connection.bind(person.dn, password, isPolicyAsked ? [policy] : []);
      });
      const reason = readBindAnswer(answer, policy.value?.error);
      if (reason === null) return { kind: 'accepted', ...person };
      if (reason) return { kind: 'refused', reason };
      const problem = `${used?.server.url} answered a sign-in with result ${answer.code}`;
      if (used && isAwayCode(answer.code)) {
        used.close();
        servers.reportFailure(used.server, new DirectoryError('unreachable', problem));
      }
      return { kind: 'unavailable', problem };
    } catch (error) {
      if (!(error instanceof DirectoryError)) throw error;
      const failure = used?.failure;
      if (used && (failure === 'late' || !wasKept)) servers.reportFailure(used.server, error);
      // A bind that was heard counts where the password is wrong. So it is sent again only where the
      // connection broke before a byte of an answer, which is how one that lay idle ends, and once.
      const mayRepeat = failure === 'closed' && !used?.hasAnswered && attempt === 1;
      if (mayRepeat) continue;
      const { message: problem } = error;
      return { kind: 'unavailable', problem, ...(asking.isSent && { mayBeWrong: true }) };
    }
  }
}

/** Busy, or not available. */
function isAwayCode(code: number): boolean {
  return code === 51 || code === 52;
}
