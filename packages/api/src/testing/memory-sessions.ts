import { randomUUID } from 'node:crypto';
import { rightsOf, ROLES, type AdministratorDocument } from '@countersign/verification';
import type { Caller, Credentials, SessionPorts, SignInOutcome } from '../ports.ts';

const HOUR_MS = 3_600_000;
const AT = '2026-03-01T12:00:00.000Z';

/** Of whoever `css_ROLE` is a session; who is invited by `csi_good`. */
export const OLIVE: AdministratorDocument = {
  id: randomUUID(),
  username: 'olive',
  roles: ['owner'],
  disabled: false,
  invitation: { codeHash: 'a'.repeat(64), at: AT, by: 'init', expiresAt: AT },
  unlockedAt: null,
  createdAt: AT,
  updatedAt: AT,
};

/** Whoever types 123456 is signed in as olive, an owner. */
export class MemorySessions implements SessionPorts {
  readonly typed: Record<string, string>[] = [];
  /** What an owner's session is given anew as. */
  renewed: string | null = null;

  async signIn(typed: Parameters<SessionPorts['signIn']>[0]): Promise<SignInOutcome> {
    if (typed.username === 'away') return { kind: 'not_ready', detail: 'no quorum' };
    return this.#judge(typed);
  }

  async stepUp(typed: Parameters<SessionPorts['stepUp']>[0]): Promise<SignInOutcome> {
    return this.#judge(typed);
  }

  async findInvited(code: string): Promise<AdministratorDocument | null> {
    return code === 'csi_good' ? OLIVE : null;
  }

  authenticate({ bearer, reason }: Credentials): Caller | null {
    const role = ROLES.find((each) => bearer === `css_${each}`);
    if (!role) return null;
    const session = {
      id: randomUUID(),
      administratorId: OLIVE.id,
      secondFactorAt: Date.now(),
      expiresAt: Date.now() + HOUR_MS,
    };
    return {
      id: role,
      name: role,
      scopes: new Set(rightsOf([role])),
      applications: null,
      session,
      ...(role === 'owner' && this.renewed !== null && { renewedToken: this.renewed }),
      proof: { kind: 'session', token: `css_${role}`, ...(reason && { reason }) },
    };
  }

  #judge(typed: Record<string, string>): SignInOutcome {
    this.typed.push(typed);
    if (typed.code !== '123456') return { kind: 'denied' };
    const inAnHour = new Date(Date.now() + HOUR_MS).toISOString();
    return {
      kind: 'signed_in',
      token: 'css_owner',
      username: 'olive',
      roles: ['owner'],
      expiresAt: inAnHour,
      freshUntil: inAnHour,
    };
  }
}
