import { createHash, randomBytes } from 'node:crypto';
import { type VerificationAttempt, type VerificationOutcome } from '@countersign/api';
import type { PurposeKey } from '@countersign/keys';
import {
  findSignInProtocol,
  findText,
  findValue,
  findValues,
  makeAttribute,
  makeReplyMessages,
  normalizeAddress,
  packetCodes,
  readMschapV2,
  readMschapV2Change,
  readText,
  RequestReplacedError,
  type Attribute,
  type Reply,
  type ServerRequest,
  type SignInProtocol,
} from '@countersign/radius';
import {
  isSafeText,
  usernameKey,
  type DenialReason,
  type RadiusClientDocument,
} from '@countersign/verification';
import type { WaitingAttempt } from '../step.ts';
import type { Verifier } from '../verifier.ts';
import type { DenialPace } from './denial-pace.ts';
import { joinKeys } from './join-key.ts';
import type { ParkedAttributes } from './parked-attributes.ts';
import { radiusCaller } from './radius-caller.ts';
import type { RadiusTargets } from './radius-targets.ts';
import { decodeState, encodeState } from './radius-state.ts';
import { METHOD_NUMBERS, replyTexts } from './reply-texts.ts';
import { splitAnswer, splitPassword } from './split-password.ts';
import { TargetSignIn } from './target-sign-in.ts';

/** A client as its document says, with all that is made of it once. */
export type AskingClient = {
  document: RadiusClientDocument;
  /** Of the application: what strangers are spoken to in. */
  language: string;
  /** Whether events may say where people are. */
  recordsAddresses: boolean;
  /** In Access-Accept, for the users of a group (as names are compared), or for everybody. */
  replies: readonly { group: string | null; attribute: Attribute }[];
};

type AccessClient = AskingClient & { secret: Buffer };

export type AccessPorts = Pick<Verifier, 'verify' | 'awaitAnswer' | 'refuse'> & {
  targets: Pick<RadiusTargets, 'find'>;
  parked: Pick<ParkedAttributes, 'park' | 'find'>;
  joinKey: PurposeKey;
  pace: Pick<DenialPace, 'note' | 'hold'>;
};

type Told = Reply | 'drop';

/**
 * One Access-Request, from what it holds to the reply: it ends in `verify(attempt)`. Whoever gets no answer sends again,
 * so what cannot be judged now is dropped. All denials look alike (rule 13).
 */
export async function handleAccessRequest(
  request: ServerRequest,
  client: AccessClient,
  ports: AccessPorts,
  signal: AbortSignal,
): Promise<Told> {
  const startedAtMs = performance.now();
  const { document } = client;
  const attempt = attemptOf(request, document, ports.joinKey);
  const protocol = findSignInProtocol(request.attributes);
  const texts = replyTexts(client.language);
  const isMschap = protocol === 'mschapv2' || protocol === 'mschapv2-change';
  const { firstFactor } = document;
  const target = firstFactor.kind === 'radius' ? ports.targets.find(firstFactor.target) : null;
  const { parked } = ports;
  const signIn =
    target && new TargetSignIn({ target, clientId: document.id, request, isMschap, parked });
  const hold = () => ports.pace.hold(document.id, startedAtMs);
  const note = () => ports.pace.note(document.id, performance.now() - startedAtMs);
  const answering = { hold, note, signIn };
  const settle = async (asked: WaitingAttempt): Promise<Told> => {
    const outcome = await ports.verify(asked);
    if (outcome.kind !== 'challenge' || outcome.asks.length > 0) {
      return replyTo(outcome, client, answering);
    }
    // Another node, should the client turn to one, needs what the target said.
    if (signIn && !(await signIn.takeReplies(outcome, client.secret))) return 'drop';
    const hasGivenUp = () => signal.reason instanceof RequestReplacedError;
    const told = await ports.awaitAnswer(asked, outcome, { signal, hasGivenUp });
    return replyTo(told, client, answering);
  };
  const refuse = async (reason: DenialReason, message = texts.denied): Promise<Told> => {
    const outcome = await ports.refuse(attempt, reason);
    if (outcome.kind === 'not_ready') return 'drop';
    await hold();
    return reject(message, signIn?.denial);
  };
  const mayMschap = target?.mayJudgeMschap ?? firstFactor.kind === 'radius';
  if (protocol !== 'pap' && protocol !== 'none' && !(isMschap && mayMschap)) {
    return refuse('no_method_for_protocol', texts.protocol(PROTOCOL_NAMES[protocol]));
  }
  if (firstFactor.kind === 'radius' && !signIn) return refuse('no_directory');
  if (attempt.username === null) return refuse('unknown_user');
  if (isMschap) {
    const password = mschapProof(request);
    if (attempt.challenge || password === null) return refuse('wrong_password');
    const passwordTarget = signIn!.passwordTarget(null);
    return settle({ ...attempt, door: 'mschapv2', password, passwordTarget });
  }
  // Some send nothing for an empty field.
  const bytes = protocol === 'none' ? Buffer.alloc(0) : request.password;
  const typed = bytes && typedIn(bytes, attempt, document);
  if (!typed) return refuse(attempt.challenge ? 'wrong_code' : 'wrong_password');
  if (signIn && attempt.challenge) {
    // Before a code is spent for nothing.
    const carried = await signIn.carry(attempt.challenge.id);
    if (carried === 'silent') return 'drop';
    if (carried === 'absent') return refuse('expired');
  }
  const { password } = typed;
  const passwordTarget = password === null ? undefined : signIn?.passwordTarget(password);
  return settle({ ...attempt, ...typed, ...(passwordTarget && { passwordTarget }) });
}

/** What stands for the password in one attempt, for all there is of it proves it once; null: it is not whole. */
function mschapProof({ attributes }: ServerRequest): string | null {
  const proof =
    findSignInProtocol(attributes) === 'mschapv2-change'
      ? readMschapV2Change(attributes)
      : readMschapV2(attributes) && findValue(attributes, 'MS-CHAP2-Response');
  return proof ? `mschapv2 ${proof.toString('base64')}` : null;
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
): WaitingAttempt {
  const { attributes, from } = request;
  const { waitSeconds } = document;
  const state = findValue(attributes, 'State');
  const { directories = null } =
    document.firstFactor.kind === 'directory' ? document.firstFactor : {};
  return {
    ...joinKeys(joinKey, request, { clientId: document.id, nowMs: Date.now(), waitSeconds }),
    waiting: {
      seconds: waitSeconds,
      holder: randomBytes(6).toString('base64url'),
      hasGivenUp: false,
    },
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
  const method = METHOD_NUMBERS.get(answer.code) ?? null;
  return { password: null, method, code: method ? null : answer.code, pin: answer.pin };
}

/** Null: none, or one that nobody can have. */
function usernameOf(attributes: readonly Attribute[]): string | null {
  const name = findText(attributes, 'User-Name');
  return name && isSafeText(name) ? name : null;
}

/** Rule 12: of the end user only where the client is said to tell it, and of two nobody knows which. */
function personAddress(
  attributes: readonly Attribute[],
  { callingStation }: RadiusClientDocument,
): string | null {
  if (callingStation !== 'ip') return null;
  const [told, ...more] = findValues(attributes, 'Calling-Station-Id');
  const text = told && more.length === 0 ? readText(told) : undefined;
  return text === undefined ? null : normalizeAddress(text);
}

/**
 * An answer comes by the same NAS and from the same place as the question went, and passwords are still checked where
 * they were then (rule 6).
 */
function stationOf(
  attributes: readonly Attribute[],
  { callingStation, firstFactor }: RadiusClientDocument,
): string {
  const nas = findValue(attributes, 'NAS-Identifier');
  const place =
    callingStation === 'ignore' ? undefined : findValue(attributes, 'Calling-Station-Id');
  const hash = createHash('sha256').update(JSON.stringify(firstFactor));
  for (const value of [nas, place]) {
    hash.update(value ? Buffer.from([1, value.length]) : Buffer.from([0])).update(value ?? '');
  }
  return hash.digest('base64url');
}

async function replyTo(
  outcome: VerificationOutcome,
  client: AccessClient,
  answering: {
    hold(): Promise<void>;
    /** A wrong password took as long. */
    note(): void;
    signIn: TargetSignIn | null;
  },
): Promise<Told> {
  const { document } = client;
  const { hold, note, signIn } = answering;
  if (outcome.kind === 'not_ready') return 'drop';
  if (outcome.kind === 'challenge') {
    // Who was never asked for a password may be nobody: a question to nobody must not be told apart.
    if (document.firstFactor.kind === 'none') await hold();
    if (!document.canChallenge) return reject(replyTexts(client.language).denied);
    const kept = signIn ? await signIn.takeReplies(outcome, client.secret) : [];
    return kept ? challenge(outcome, client) : 'drop';
  }
  if (outcome.kind === 'verdict' && outcome.approved) {
    const first = signIn ? await signIn.takeReplies(outcome, client.secret) : [];
    return first ? accept(outcome, client, first) : 'drop';
  }
  const { reason, language } = outcome.kind === 'verdict' ? outcome : {};
  if (reason === 'busy') return 'drop';
  if (reason === 'wrong_password') note();
  await hold();
  const texts = replyTexts(language ?? client.language);
  return reject(
    signIn?.isMschap ? texts.denied : whyDenied(reason, document, texts),
    signIn?.denial,
  );
}

/** Whoever has proven a password may know how to go on; nobody else learns anything. */
function whyDenied(
  reason: DenialReason | undefined,
  document: RadiusClientDocument,
  texts: ReturnType<typeof replyTexts>,
): string {
  // Code and PIN were right.
  if (reason === 'pin_change_required') return texts.changePin;
  const isCodeMissing = reason === 'no_method_for_protocol' && document.firstFactor.kind !== 'none';
  if (!isCodeMissing || document.canChallenge) return texts.denied;
  if (document.commaCode) return texts.codeBehindComma;
  return document.appendedCode ? texts.codeBehind : texts.denied;
}

function accept(
  { group }: Extract<VerificationOutcome, { kind: 'verdict' }>,
  { replies }: AskingClient,
  ofTarget: readonly Attribute[],
): Reply {
  const own = group === undefined ? null : usernameKey(group);
  const attributes = replies
    .filter((reply) => reply.group === null || reply.group === own)
    .map(({ attribute }) => attribute);
  return { code: packetCodes.accessAccept, attributes: [...ofTarget, ...attributes] };
}

function challenge(
  asked: Extract<VerificationOutcome, { kind: 'challenge' }>,
  client: AccessClient,
): Reply {
  const text = replyTexts(asked.language ?? client.language).question(asked);
  const state = makeAttribute('State', encodeState(asked));
  return { code: packetCodes.accessChallenge, attributes: [state, ...makeReplyMessages(text)] };
}

function reject(message: string, why: readonly Attribute[] = []): Reply {
  return { code: packetCodes.accessReject, attributes: [...why, ...makeReplyMessages(message)] };
}
