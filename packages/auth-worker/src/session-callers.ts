import {
  ProblemError,
  type Caller,
  type Credentials,
  type SessionPorts,
  type SignInOutcome,
} from '@countersign/api';
import {
  findInvited,
  readForSession,
  type Database,
  type SessionRead,
} from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import {
  askSignIn,
  authenticateSession,
  hashApiKey,
  isDueForRenewal,
  isOfOldKey,
  SESSION_PREFIX,
  type SignInPath,
} from '@countersign/operations';
import { rightsOf } from '@countersign/verification';
import type { DatabaseGate } from './database-gate.ts';
import { PasswordBudget } from './password-budget.ts';

/** Of one address, in each worker: the rules count for the administrator besides. */
const WRONG_SIGN_INS = { failures: 20, minutes: 10 };

/** At once; other requests bring the same session soon. */
const RENEWING_MAX = 16;
const RENEWAL_WAIT_MS = 500;

/** Who a session belongs to, read anew at each use, and where sessions come from. */
export class SessionCallers implements SessionPorts {
  readonly #db: Database;
  readonly #gate: DatabaseGate;
  readonly #key: PurposeKey;
  readonly #path: () => SignInPath;
  readonly #budget = new PasswordBudget();
  #renewing = 0;

  constructor(options: { db: Database; gate: DatabaseGate; key: PurposeKey; path(): SignInPath }) {
    this.#db = options.db;
    this.#gate = options.gate;
    this.#key = options.key;
    this.#path = options.path;
  }

  static isSession({ bearer }: Pick<Credentials, 'bearer'>): boolean {
    return bearer?.startsWith(SESSION_PREFIX) ?? false;
  }

  async authenticate({ bearer, reason }: Credentials): Promise<Caller | null> {
    const token = bearer ?? '';
    if (isOfOldKey({ session: this.#key }, token)) {
      const detail =
        "The cluster's key was changed, which ends every session: sign in again (countersign login).";
      throw new ProblemError(401, 'session_over', detail);
    }
    const read = (of: { administratorId: string; sessionId: string }) => this.#read(of);
    const session = await authenticateSession(
      { keys: { session: this.#key }, read },
      token,
      Date.now(),
    );
    if (!session) return null;
    const { administrator, claims } = session;
    const renewedToken = isDueForRenewal(claims, Date.now()) ? await this.#renew(token) : null;
    return {
      ...(renewedToken !== null && { renewedToken }),
      id: `administrator ${administrator.id}`,
      name: administrator.username,
      scopes: new Set(rightsOf(administrator.roles)),
      applications: null,
      session: claims,
      proof: { kind: 'session', token, ...(reason !== undefined && { reason }) },
    };
  }

  /** Null: not now. There are 25 minutes left to do it in. */
  async #renew(token: string): Promise<string | null> {
    if (this.#renewing >= RENEWING_MAX) return null;
    this.#renewing += 1;
    try {
      const outcome = await askSignIn(this.#path(), 'renew-session', { token }, RENEWAL_WAIT_MS);
      return outcome.kind === 'signed_in' ? outcome.token : null;
    } finally {
      this.#renewing -= 1;
    }
  }

  async signIn({ remoteAddress, ...typed }: Parameters<SessionPorts['signIn']>[0]) {
    return this.#within(remoteAddress, () =>
      askSignIn(this.#path(), 'sign-in', { ...typed, address: remoteAddress }),
    );
  }

  async stepUp({ remoteAddress, ...typed }: Parameters<SessionPorts['stepUp']>[0]) {
    return this.#within(remoteAddress, () =>
      askSignIn(this.#path(), 'step-up', { ...typed, address: remoteAddress }),
    );
  }

  async findInvited(code: string) {
    const codeHash = hashApiKey(code);
    return this.#gate
      .pass(() => findInvited(this.#db, { codeHash, nowMs: Date.now() }))
      .catch((cause: unknown) => {
        throw notReady(cause);
      });
  }

  /** Counted before it is judged, so that many at once are no more than the budget. */
  async #within(address: string, judge: () => Promise<SignInOutcome>): Promise<SignInOutcome> {
    const now = Date.now();
    if (this.#budget.isSpent(address, WRONG_SIGN_INS, now)) return { kind: 'denied' };
    this.#budget.add(address, WRONG_SIGN_INS, now);
    const outcome = await judge();
    if (outcome.kind !== 'denied') this.#budget.giveBack(address);
    return outcome;
  }

  async #read(of: { administratorId: string; sessionId: string }): Promise<SessionRead> {
    try {
      return await this.#gate.pass(() => readForSession(this.#db, of));
    } catch (cause) {
      throw notReady(cause);
    }
  }
}

/** Another node can serve this caller: a load balancer goes there on 503. */
function notReady(cause: unknown): ProblemError {
  return new ProblemError(503, 'not_ready', "This node's PostgreSQL does not answer.", { cause });
}
