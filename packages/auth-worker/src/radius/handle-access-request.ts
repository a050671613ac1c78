import { createHash } from 'node:crypto';
import {
  holdUntilNextMark,
  type VerificationAttempt,
  type VerificationOutcome,
} from '@countersign/api';
import type { PurposeKey } from '@countersign/keys';
import {
  findSignInProtocol,
  findText,
  findValue,
  makeAttribute,
  makeReplyMessages,
  normalizeAddress,
  packetCodes,
  type Attribute,
  type Reply,
  type ServerRequest,
  type SignInProtocol,
} from '@countersign/radius';
import {
  isSafeText,
  type DenialReason,
  type RadiusClientDocument,
} from '@countersign/verification';
import { joinKeys } from './join-key.ts';
import { radiusCaller } from './radius-caller.ts';
import { decodeState, encodeState } from './radius-state.ts';
import { METHOD_NUMBERS, replyTexts } from './reply-texts.ts';
import { splitAnswer, splitPassword } from './split-password.ts';

/** A client as its document says, with all that is made of it once. */
export type AskingClient = {
  document: RadiusClientDocument;
  /** Of the application: what strangers are spoken to in. */
  language: string;
  /** In Access-Accept, for the users of a group (folded), or for everybody. */
  replies: readonly { group: string | null; attribute: Attribute }[];
};

export type AccessPorts = {
  joinKey: PurposeKey;
  verify(attempt: VerificationAttempt): Promise<VerificationOutcome>;
  /** Denies and records without looking anybody up. */
  refuse(attempt: VerificationAttempt, reason: DenialReason): Promise<VerificationOutcome>;
};

type Told = Reply | 'drop';

/**
 * One Access-Request, from what it holds to the reply: it ends in `verify(attempt)`. Whoever gets no answer sends again,
 * so what cannot be judged now is dropped. All denials look alike (rule 13).
 */
export async function handleAccessRequest(
  request: ServerRequest,
  client: AskingClient,
  ports: AccessPorts,
): Promise<Told> {
  const startedAtMs = performance.now();
  const { document } = client;
  const attempt = attemptOf(request, document, ports.joinKey);
  const protocol = findSignInProtocol(request.attributes);
  const texts = replyTexts(client.language);
  const refuse = async (reason: DenialReason, message = texts.denied): Promise<Told> => {
    const outcome = await ports.refuse(attempt, reason);
    return outcome.kind === 'not_ready' ? 'drop' : reject(startedAtMs, message);
  };
  if (protocol !== 'pap' && protocol !== 'none') {
    return refuse('no_method_for_protocol', texts.protocol(PROTOCOL_NAMES[protocol]));
  }
  // No RADIUS target is asked here yet, and no password may pass for proven.
  if (document.firstFactor.kind === 'radius') return refuse('no_directory');
  if (attempt.username === null) return refuse('unknown_user');
  // Some send nothing for an empty field.
  const bytes = protocol === 'none' ? Buffer.alloc(0) : request.password;
  const typed = bytes && typedIn(bytes, attempt, document);
  if (!typed) return refuse(attempt.challenge ? 'wrong_code' : 'wrong_password');
  const outcome = await ports.verify({ ...attempt, ...typed });
  return replyTo(outcome, client, startedAtMs);
}

const PROTOCOL_NAMES: Record<Exclude<SignInProtocol, 'pap' | 'none'>, string> = {
  chap: 'CHAP',
  mschap: 'MS-CHAP',
  mschapv2: 'MSCHAPv2',
  'mschapv2-change': 'MSCHAPv2',
  eap: 'EAP',
};

function attemptOf(
  request: ServerRequest,
  document: RadiusClientDocument,
  joinKey: PurposeKey,
): VerificationAttempt {
  const { attributes, from } = request;
  const state = findValue(attributes, 'State');
  const { directories = null } =
    document.firstFactor.kind === 'directory' ? document.firstFactor : {};
  return {
    ...joinKeys(joinKey, request, { clientId: document.id, nowMs: Date.now() }),
    caller: radiusCaller(document),
    username: usernameOf(attributes),
    password: null,
    door: document.canChallenge ? 'pap-challenge' : 'pap',
    code: null,
    pin: null,
    newPin: null,
    method: null,
    challenge: state ? decodeState(state) : null,
    application: document.application,
    clientIp: personAddress(attributes, document),
    remoteAddress: from.address,
    station: stationOf(attributes, document),
    directories,
  };
}

/** Null: neither a password nor a code. */
function typedIn(
  bytes: Buffer,
  { challenge }: VerificationAttempt,
  document: RadiusClientDocument,
): Pick<VerificationAttempt, 'password' | 'code' | 'pin' | 'method'> | null {
  if (!challenge) {
    const typed = splitPassword(bytes, document);
    if (typed.kind === 'wrong') return null;
    const { password, code, method } = typed;
    return { password, code, method, pin: null };
  }
  const answer = splitAnswer(bytes, document);
  if (!answer) return null;
  const method = METHOD_NUMBERS[answer.code as keyof typeof METHOD_NUMBERS] ?? null;
  return { password: null, method, code: method ? null : answer.code, pin: answer.pin };
}

/** Null: none, or one that nobody can have. */
function usernameOf(attributes: readonly Attribute[]): string | null {
  const name = findText(attributes, 'User-Name');
  return name && isSafeText(name) ? name : null;
}

/** Rule 12: of the end user only where the client is said to tell it. */
function personAddress(
  attributes: readonly Attribute[],
  { callingStation }: RadiusClientDocument,
): string | null {
  const told = callingStation === 'ip' ? findText(attributes, 'Calling-Station-Id') : undefined;
  return told === undefined ? null : normalizeAddress(told);
}

/** An answer comes by the same NAS and from the same place as the question went (rule 6). */
function stationOf(
  attributes: readonly Attribute[],
  { callingStation }: RadiusClientDocument,
): string {
  const nas = findValue(attributes, 'NAS-Identifier');
  const place =
    callingStation === 'ignore' ? undefined : findValue(attributes, 'Calling-Station-Id');
  const hash = createHash('sha256');
  for (const value of [nas, place]) {
    hash.update(value ? Buffer.from([1, value.length]) : Buffer.from([0])).update(value ?? '');
  }
  return hash.digest('base64url');
}

async function replyTo(
  outcome: VerificationOutcome,
  client: AskingClient,
  startedAtMs: number,
): Promise<Told> {
  const { document } = client;
  const texts = replyTexts(client.language);
  if (outcome.kind === 'not_ready') return 'drop';
  if (outcome.kind === 'challenge') {
    // Who was never asked for a password may be nobody: a question to nobody must not be told apart.
    if (document.firstFactor.kind === 'none') await holdUntilNextMark(startedAtMs);
    return document.canChallenge ? challenge(outcome, client) : reject(0, texts.denied);
  }
  if (outcome.kind === 'conflict') return reject(startedAtMs, texts.denied);
  if (outcome.approved) return accept(outcome, client);
  if (outcome.reason === 'busy') return 'drop';
  return reject(startedAtMs, whyDenied(outcome.reason, document, texts));
}

/** Whoever has proven a password may know how to go on; nobody else learns anything. */
function whyDenied(
  reason: DenialReason | undefined,
  document: RadiusClientDocument,
  texts: ReturnType<typeof replyTexts>,
): string {
  const isCodeMissing = reason === 'no_method_for_protocol' && document.firstFactor.kind !== 'none';
  if (!isCodeMissing || document.canChallenge) return texts.denied;
  if (document.commaCode) return texts.codeBehindComma;
  return document.appendedCode ? texts.codeBehind : texts.denied;
}

function accept(
  { group }: Extract<VerificationOutcome, { kind: 'verdict' }>,
  { replies }: AskingClient,
): Reply {
  const own = group?.toLowerCase();
  const attributes = replies
    .filter((reply) => reply.group === null || reply.group === own)
    .map(({ attribute }) => attribute);
  return { code: packetCodes.accessAccept, attributes };
}

function challenge(
  asked: Extract<VerificationOutcome, { kind: 'challenge' }>,
  client: AskingClient,
): Reply {
  const text = replyTexts(asked.language ?? client.language).question(asked);
  const state = makeAttribute('State', encodeState(asked));
  return { code: packetCodes.accessChallenge, attributes: [state, ...makeReplyMessages(text)] };
}

async function reject(startedAtMs: number, message: string): Promise<Reply> {
  await holdUntilNextMark(startedAtMs);
  return { code: packetCodes.accessReject, attributes: makeReplyMessages(message) };
}
