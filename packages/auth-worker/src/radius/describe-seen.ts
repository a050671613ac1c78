import type { RadiusSeen, VerificationAttempt, VerificationOutcome } from '@countersign/api';
import {
  findSignInProtocol,
  findText,
  packetCodes,
  showAttributes,
  type Attribute,
  type Reply,
  type SeenDatagram,
  type ServerRequest,
} from '@countersign/radius';
import { escapeUntrusted, serverKey, type DenialReason } from '@countersign/verification';

const PACKET_NAMES: ReadonlyMap<number, string> = new Map([
  [packetCodes.accessRequest, 'Access-Request'],
  [packetCodes.accountingRequest, 'Accounting-Request'],
  [packetCodes.statusServer, 'Status-Server'],
]);
const VERDICTS: ReadonlyMap<number, string> = new Map([
  [packetCodes.accessAccept, 'accept'],
  [packetCodes.accessReject, 'reject'],
  [packetCodes.accessChallenge, 'challenge'],
  [packetCodes.accountingResponse, 'answered'],
]);
const OUTCOMES: Readonly<Record<string, [verdict: string, why: string | null]>> = {
  duplicate: ['duplicate', 'sent again from the same port'],
  status: ['answered', null],
  status_unanswered: ['dropped', 'this node cannot verify now'],
};
const ATTRIBUTES_MAX = 40;
const VALUE_MAX = 128;
const USER_NAME = 1;
const MESSAGE_AUTHENTICATOR = 80;

type Line = Omit<RadiusSeen, 'kind' | 'at' | 'worker'>;

/** Why it was judged as it was; null: there is nothing to say. */
export function whyJudged(judged: JudgedSignIn): string | null {
  if (judged.kind === 'refused') return judged.reason;
  const { outcome } = judged;
  if (outcome.kind === 'not_ready') return outcome.detail;
  if (outcome.kind === 'conflict') return 'conflict';
  if (outcome.kind === 'challenge') return `asked: ${outcome.method}`;
  const why = outcome.reason ?? outcome.skipped ?? null;
  return outcome.degraded ? [why, 'degraded'].filter(Boolean).join(', ') : why;
}

/** Whether the verdict alone says that a name is a user's: strangers are denied for many reasons, and even asked. */
export function isKnownName(judged: JudgedSignIn): boolean {
  if (judged.kind === 'refused') return false;
  const { outcome } = judged;
  return outcome.kind === 'verdict' && outcome.approved && outcome.skipped !== 'user_match_off';
}

export type JudgedSignIn =
  | { kind: 'refused'; attempt: VerificationAttempt; reason: DenialReason }
  | { kind: 'verified'; attempt: VerificationAttempt; outcome: VerificationOutcome };

/** A request that was handled. `reply` null: it failed; `user`: as it may be shown. */
export function lineOfRequest(
  request: ServerRequest,
  about: {
    client: string;
    testBy: string | null;
    reply: Reply | 'drop' | null;
    why: string | null;
    user: string | null;
    tookMs: number;
  },
): Line {
  const { service, from, code, attributes } = request;
  const { client, testBy, reply, user, tookMs } = about;
  const isSignIn = code === packetCodes.accessRequest;
  const isSigned = attributes.some(({ type }) => type === MESSAGE_AUTHENTICATOR);
  const unsigned = isSignIn && !isSigned ? 'no Message-Authenticator' : null;
  const verdict =
    reply === null ? 'failed' : reply === 'drop' ? 'dropped' : (VERDICTS.get(reply.code) ?? '?');
  return {
    service,
    from: serverKey({ host: from.address, port: from.port }),
    client,
    testBy,
    packet: nameOfPacket(code),
    protocol: isSignIn ? findSignInProtocol(attributes) : null,
    user: user === null ? null : escapeUntrusted(user),
    verdict,
    why: [about.why, unsigned].filter(Boolean).join(', ') || null,
    attributes: shownOf(attributes),
    tookMs: Math.round(tookMs),
  };
}

/** What never became a request: a duplicate, a Status-Server, or what was refused. */
export function lineOfDatagram({ service, from, client, packet, outcome }: SeenDatagram): Line {
  const [verdict, why] = OUTCOMES[outcome] ?? ['dropped', outcome];
  const isSignIn = packet?.code === packetCodes.accessRequest;
  return {
    service,
    from: serverKey({ host: from.address, port: from.port }),
    client,
    testBy: null,
    packet: packet && nameOfPacket(packet.code),
    protocol: isSignIn ? findSignInProtocol(packet.attributes) : null,
    user: null,
    verdict,
    why,
    attributes: packet && shownOf(packet.attributes),
    tookMs: null,
  };
}

/** Of Accounting-Requests, which are recorded with the name as it is. */
export function nameInAccounting({ attributes }: ServerRequest): string | null {
  return findText(attributes, 'User-Name') ?? null;
}

function nameOfPacket(code: number): string {
  return PACKET_NAMES.get(code) ?? `code ${code}`;
}

function shownOf(attributes: readonly Attribute[]): { name: string; value: string }[] {
  const others = attributes.filter(({ type }) => type !== USER_NAME).slice(0, ATTRIBUTES_MAX);
  return showAttributes(others).map(({ name, value }) => ({
    name,
    value: escapeUntrusted(value, VALUE_MAX),
  }));
}
