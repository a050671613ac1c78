import { randomBytes } from 'node:crypto';
import type { PasswordTarget, VerificationOutcome } from '@countersign/api';
import {
  findValue,
  makeAttribute,
  reencryptAttributes,
  type Attribute,
  type ServerRequest,
} from '@countersign/radius';
import type { DenialReason, PasswordJudged } from '@countersign/verification';
import type { FoundAttributes, ParkedAttributes } from './parked-attributes.ts';
import type { RadiusTarget, TargetAnswer, TargetAttributes } from './radius-targets.ts';

export type TargetSignInOptions = {
  target: RadiusTarget;
  clientId: string;
  request: ServerRequest;
  isMschap: boolean;
  parked: Pick<ParkedAttributes, 'park' | 'find'>;
};

type Told = Exclude<VerificationOutcome, { kind: 'conflict' | 'not_ready' }>;

/** So long a verdict may be told again, and some more. */
const VERDICT_MS = 30_000;

/** One Access-Request whose password a RADIUS target judges, and what becomes of the target's attributes. */
export class TargetSignIn {
  readonly #options: TargetSignInOptions;
  #answer: TargetAnswer | null = null;
  #carried: TargetAttributes | null = null;

  constructor(options: TargetSignInOptions) {
    this.#options = options;
  }

  /** For the answer to a question: what the target returned before it was asked. */
  async carry(questionId: string): Promise<FoundAttributes['kind']> {
    if (!this.#needsReplies) return 'found';
    const found = await this.#find(questionId);
    if (found.kind === 'found') this.#carried = found;
    return found.kind;
  }

  /**
   * `password` of PAP; null: what proves it is in the request. It is asked to its own deadline even when the client has
   * sent another request in this one's place: that may be the same sign-in, which waits for this answer.
   */
  passwordTarget(password: string | null): PasswordTarget {
    const { target, request } = this.#options;
    const bytes = password === null ? null : Buffer.from(password, 'utf8');
    return {
      id: target.id,
      name: target.name,
      prove: async () => {
        this.#answer = await target.ask({ attributes: request.attributes, password: bytes });
        return judgedOf(this.#answer);
      },
    };
  }

  /**
   * The target's attributes for the client, hidden for it; parked before a question leaves, and before a verdict that
   * may be asked for again. Null: they are nowhere to be found, and without them nobody is let in, for they may be what
   * limits somebody. Throws when they cannot be kept.
   */
  async takeReplies(outcome: Told, secret: Buffer): Promise<Attribute[] | null> {
    if (!this.#needsReplies) return [];
    const own = this.#answer?.kind === 'accepted' ? this.#answer : null;
    const told = own ?? this.#carried ?? (await this.#findJoined(outcome.id));
    if (!told) return null;
    const { clientId, parked, request } = this.#options;
    const isQuestion = outcome.kind === 'challenge';
    if (own || isQuestion) {
      const expiresAtMs = isQuestion ? Date.parse(outcome.expiresAt) : Date.now() + VERDICT_MS;
      await parked.park({ clientId, id: outcome.id }, told, expiresAtMs);
    }
    const { authenticator } = request;
    return reencryptAttributes(told.attributes, {
      from: told.exchange,
      to: { secret, authenticator },
    });
  }

  /**
   * Of a denial, where MSCHAPv2 wants to know why: like any other, but for a password that is to be changed, which only
   * whoever has proven it is told.
   */
  get denial(): Attribute[] {
    const { isMschap, request } = this.#options;
    if (!isMschap) return [];
    const error = mschapErrorOf(this.#answer);
    if (error && errorNumber(error) === PASSWORD_EXPIRED) {
      return [makeAttribute('MS-CHAP-Error', error)];
    }
    const { attributes } = request;
    const identifier =
      findValue(attributes, 'MS-CHAP2-Response')?.[0] ??
      findValue(attributes, 'MS-CHAP2-CPW')?.[1] ??
      0;
    const challenge = randomBytes(16).toString('hex').toUpperCase();
    const text = Buffer.from(`E=691 R=0 C=${challenge} V=3`);
    return [makeAttribute('MS-CHAP-Error', Buffer.concat([Buffer.from([identifier]), text]))];
  }

  get isMschap(): boolean {
    return this.#options.isMschap;
  }

  get #needsReplies(): boolean {
    return this.#options.target.hasReplies || this.#options.isMschap;
  }

  #find(id: string): Promise<FoundAttributes> {
    const { parked, clientId } = this.#options;
    return parked.find({ clientId, id });
  }

  /** Sent again while, or after, another asked the target for the same. */
  async #findJoined(id: string): Promise<TargetAttributes | null> {
    const found = await this.#find(id);
    return found.kind === 'found' ? found : null;
  }
}

function judgedOf(answer: TargetAnswer): PasswordJudged {
  if (answer.kind === 'accepted') return { kind: 'right' };
  if (answer.kind === 'challenged') return { kind: 'refused', reason: 'target_challenge' };
  if (answer.kind === 'unavailable') {
    const doubt = answer.mayBeWrong ? { mayBeWrong: true as const } : {};
    return { kind: 'refused', reason: 'target_unavailable', ...doubt };
  }
  const error = mschapErrorOf(answer);
  const reason = error ? MSCHAP_REASONS[errorNumber(error)] : undefined;
  return reason ? { kind: 'refused', reason } : { kind: 'wrong' };
}

function mschapErrorOf(answer: TargetAnswer | null): Buffer | undefined {
  return answer?.kind === 'rejected' ? findValue(answer.attributes, 'MS-CHAP-Error') : undefined;
}

/** The E= of RFC 2759 §6, behind the identifier; other forms are 0. */
function errorNumber(error: Buffer): number {
  return Number(/^E=(\d{1,10}) /.exec(error.toString('latin1', 1))?.[1] ?? 0);
}

const PASSWORD_EXPIRED = 648;
/** Of RFC 2759 §6 what is no wrong password; 649 and 709 are counted as one, for it may be. */
const MSCHAP_REASONS: Readonly<Record<number, DenialReason>> = {
  646: 'account_not_now',
  647: 'account_disabled',
  [PASSWORD_EXPIRED]: 'password_expired',
};
