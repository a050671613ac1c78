import {
  ProblemError,
  type RadiusTest,
  type RadiusTestReport,
  type VerificationAttempt,
} from '@countersign/api';
import {
  findText,
  findValue,
  longestPasswordBytes,
  makeAttribute,
  makeClientMatcher,
  normalizeAddress,
  packetCodes,
  RadiusClient,
  RadiusServer,
  showAttributes,
  type ClientResult,
  type Reply,
  type ServerRefusal,
  type ServerRequest,
} from '@countersign/radius';
import type { RadiusClientDocument } from '@countersign/verification';
import { hearFirstFactors, type PasswordProof } from '../first-factor.ts';
import { whyJudged, type JudgedSignIn } from './describe-seen.ts';
import { hearVerdicts, type JudgePorts } from './hear-verdicts.ts';
import type { FrontClient } from './radius-clients.ts';

export type TrialFront = JudgePorts & {
  node: string;
  /** Addresses and ports of authentication, as text. */
  listensAt: readonly string[];
  isServing(): boolean;
  find(address: string): FrontClient | null;
  /** Why a client that is enabled is not served; null: nothing is known against it. */
  problemOf(client: RadiusClientDocument): string | null;
  /** What the node's ports do with a request, but for who verifies. */
  judge(
    request: ServerRequest,
    client: FrontClient,
    how: { ports: JudgePorts; signal: AbortSignal },
  ): Promise<Reply | 'drop'>;
};

/** Below the time that an HTTP request may take here. */
export const TRIAL_MS = 40_000;
const LOOPBACK = '127.0.0.1';
/** Message-Authenticator: checked, and nothing to read. */
const SIGNATURE = 80;

type Step = RadiusTestReport['steps'][number];
type Report = Pick<RadiusTestReport, 'outcome' | 'reason' | 'question' | 'attributes'>;

/** What is heard of one request on its way. */
type Heard = {
  judged: JudgedSignIn | null;
  judgedMs: number;
  /** For an answer from elsewhere. */
  waited: { method: string | null; tookMs: number } | null;
  proof: (PasswordProof & { tookMs: number }) | null;
  refusal: ServerRefusal | null;
  isDropped: boolean;
};

/**
 * Signs somebody in as a client does: a real Access-Request, signed with the client's secret, over UDP, through what
 * serves the node's own ports. It arrives at a port of its own on loopback, open for this test alone, where the one
 * socket that sends it is taken for the client: nobody else has that socket, so nothing is open to them, and no packet
 * from elsewhere is believed. To the verifier it is a caller of its own, so no cache, question or verdict is shared
 * with the client. Its NAS-Identifier names the test: nothing else can answer its question, or join it.
 */
export async function trySignIn(front: TrialFront, test: RadiusTest): Promise<RadiusTestReport> {
  const startedAt = performance.now();
  const steps: Step[] = [];
  const typed = typedOf(test);
  const found = findClient(front, test, steps);
  let report: Report = { outcome: 'unanswered', reason: null, question: null, attributes: [] };
  if (found) {
    const deadline = AbortSignal.timeout(TRIAL_MS);
    const exchange = { front, test, client: found.client, from: found.from, deadline };
    report = await sendOne({ ...exchange, ...typed }, steps);
    const { question } = report;
    if (question && typed.codeLeft !== null) {
      const state = Buffer.from(question.state, 'base64');
      report = await sendOne({ ...exchange, password: typed.codeLeft, state }, steps);
    }
  }
  const tookMs = performance.now() - startedAt;
  return { id: test.id, node: front.node, steps, ...report, tookMs };
}

/** What goes into User-Password, as the people of the client type it. Throws ProblemError where they cannot. */
function typedOf({ client, password, code, answer }: RadiusTest): {
  password: string;
  state: Buffer | null;
  /** For the question. */
  codeLeft: string | null;
} {
  if (answer) {
    return {
      password: checkLength(answer.code),
      state: Buffer.from(answer.state, 'base64'),
      codeLeft: null,
    };
  }
  if (client.firstFactor.kind === 'none') {
    if (password !== null) {
      throw badTest('This client checks passwords itself: it sends codes alone.');
    }
    return { password: checkLength(code ?? ''), state: null, codeLeft: null };
  }
  if (password === null) throw badTest('This client sends passwords: give one.');
  const whole = { password: checkLength(password), state: null, codeLeft: null };
  if (code === null) return whole;
  if (client.commaCode) return { ...whole, password: checkLength(`${password},${code}`) };
  if (client.appendedCode) return { ...whole, password: checkLength(`${password}${code}`) };
  if (client.canChallenge) return { ...whole, codeLeft: code };
  throw badTest('The people of this client can type no code: see commaCode and appendedCode.');
}

function checkLength(text: string): string {
  if (Buffer.byteLength(text) <= longestPasswordBytes) return text;
  throw badTest(`What RADIUS carries as a password has at most ${longestPasswordBytes} bytes.`);
}

function badTest(detail: string): ProblemError {
  return new ProblemError(400, 'invalid_radius_test', detail);
}

function findClient(
  front: TrialFront,
  { client: document, from: asked }: RadiusTest,
  steps: Step[],
): { client: FrontClient; from: string } | null {
  const from = asked ?? normalizeAddress(document.addresses[0]!.split('/')[0]!)!;
  const tell = (ok: boolean, text: string) =>
    steps.push({ step: 'client', ok, text, tookMs: null });
  const { name, enabled, addresses } = document;
  if (!enabled) {
    tell(false, `${name} is disabled: what it sends is dropped`);
    return null;
  }
  const networkOf = makeClientMatcher(
    addresses.map((address) => ({ addresses: [address], client: address })),
  );
  const network = networkOf(from);
  const client = front.find(from);
  if (client && client.document.id === document.id) {
    const where = network === from ? 'its address' : `in its network ${network}`;
    const ports = front.listensAt.join(', ');
    tell(true, `from ${from} it is ${name}: ${where}; this node listens at ${ports}`);
    return { client, from };
  }
  const problem = front.problemOf(document);
  if (problem) tell(false, `${name} is not served: ${problem}`);
  else if (client) tell(false, `what comes from ${from} is taken for ${client.name}`);
  else if (network === null) tell(false, `nobody is known at ${from}: it would be dropped`);
  else tell(false, `this node does not serve ${name} yet: its settings are not there`);
  return null;
}

type Sending = {
  front: TrialFront;
  test: RadiusTest;
  client: FrontClient;
  from: string;
  deadline: AbortSignal;
  password: string;
  state: Buffer | null;
};

async function sendOne(sending: Sending, steps: Step[]): Promise<Report> {
  const heard: Heard = {
    judged: null,
    judgedMs: 0,
    waited: null,
    proof: null,
    refusal: null,
    isDropped: false,
  };
  const startedAt = performance.now();
  const result = await exchangePackets(sending, heard);
  const tookMs = performance.now() - startedAt;
  steps.push(...stepsOf(sending, heard));
  const report = reportOf(result, heard);
  steps.push(...endOf(result, report, { heard, tookMs, isServing: sending.front.isServing() }));
  return report;
}

/** The answer, or null: it was dropped, or took too long. */
async function exchangePackets(
  { front, test, client, from, deadline, password, state }: Sending,
  heard: Heard,
): Promise<Extract<ClientResult, { kind: 'answered' }> | null> {
  const ended = new AbortController();
  let sender: RadiusClient | undefined;
  await using server = await RadiusServer.start({
    listen: [{ address: LOOPBACK, port: 0, service: 'authentication' }],
    findClient: (address, port) =>
      address === LOOPBACK && sender?.localPorts().includes(port) ? client : null,
    handle: async (request, { signal }) => {
      const moved = { ...request, from: { ...request.from, address: from } };
      const reply = await front
        .judge(moved, client, { ports: hearing(front, test, heard), signal })
        .catch(() => 'drop' as const);
      if (reply !== 'drop') return reply;
      heard.isDropped = true;
      ended.abort();
      return reply;
    },
    onSeen({ outcome }) {
      if (outcome === 'handled' || outcome === 'unknown_client') return;
      heard.refusal = outcome as ServerRefusal;
      ended.abort();
    },
    bounds: { maxPending: 1, maxPendingPerClient: 1, handleTimeoutMs: TRIAL_MS },
  });
  await using asking = new RadiusClient({
    servers: [
      {
        name: 'this node',
        host: LOOPBACK,
        port: server.ports[0]!,
        secret: client.secret,
        messageAuthenticator: 'require',
      },
    ],
    // It cannot be lost on its way: whatever makes it unanswered is to be seen as that.
    bounds: { timeoutMs: TRIAL_MS, firstWaitMs: TRIAL_MS, triesPerServer: 1, socketsPerServer: 1 },
  });
  sender = asking;
  const attributes = [
    makeAttribute('User-Name', test.username),
    makeAttribute('NAS-Identifier', `countersign test ${test.id}`),
    ...(test.station === null ? [] : [makeAttribute('Calling-Station-Id', test.station)]),
    ...(state === null ? [] : [makeAttribute('State', state)]),
  ];
  const request = {
    code: packetCodes.accessRequest,
    attributes,
    ...(password === '' ? {} : { password: Buffer.from(password) }),
  };
  const signal = AbortSignal.any([ended.signal, deadline]);
  try {
    const result = await asking.send(request, { signal });
    return result.kind === 'answered' ? result : null;
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  } finally {
    await server.close({ timeoutMs: 0 });
  }
}

/** Verifies as for the client, and hears what comes of it. */
function hearing(
  { verify, awaitAnswer, refuse }: JudgePorts,
  test: RadiusTest,
  heard: Heard,
): JudgePorts {
  const { client, actor } = test;
  const asTest = <T extends VerificationAttempt>(attempt: T): T => ({
    ...attempt,
    caller: {
      ...attempt.caller,
      id: `radius-test ${client.id}`,
      name: `${client.name} (test by ${actor})`,
    },
  });
  const timed = async <T>(run: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    const outcome = await run();
    heard.judgedMs += performance.now() - startedAt;
    return outcome;
  };
  const asked: JudgePorts = {
    verify(attempt) {
      const hear = (proof: PasswordProof & { tookMs: number }) => (heard.proof = proof);
      return timed(() => hearFirstFactors(hear, () => verify(asTest(attempt))));
    },
    async awaitAnswer(attempt, asked, { signal }) {
      const startedAt = performance.now();
      // Nobody sends a test to another node, where somebody could go on waiting.
      const options = { signal, hasGivenUp: () => true };
      const outcome = await timed(() => awaitAnswer(asTest(attempt), asked, options));
      const method = asked.kind === 'challenge' ? asked.method : null;
      heard.waited = { method, tookMs: performance.now() - startedAt };
      return outcome;
    },
    refuse: (attempt, reason) => timed(() => refuse(asTest(attempt), reason)),
  };
  return hearVerdicts(asked, (judged) => (heard.judged = judged));
}

function stepsOf({ client: { document }, state, password }: Sending, heard: Heard): Step[] {
  const { messageAuthenticator } = document;
  const steps: Step[] = [];
  const add = (step: Step['step'], ok: boolean, text: string, tookMs: number | null = null) =>
    steps.push({ step, ok, text, tookMs });
  if (heard.refusal) {
    add('message-authenticator', false, `refused at the port: ${heard.refusal}`);
    return steps;
  }
  const others = messageAuthenticator === 'require' ? 'has to send one' : `may leave it out`;
  add(
    'message-authenticator',
    true,
    `valid; this client ${others} (messageAuthenticator=${messageAuthenticator})`,
  );
  const { judged, proof } = heard;
  if (!judged) return steps;
  if (judged.kind === 'refused') {
    add('typed', false, `nothing that could be judged: ${judged.reason}`);
    return steps;
  }
  const { attempt, outcome } = judged;
  add(
    'typed',
    true,
    describeTyped(attempt, { isAnswer: state !== null, isEmpty: password === '' }),
  );
  const isProven = proof?.judged.kind === 'right';
  if (state === null) {
    const { kind } = document.firstFactor;
    if (kind === 'none') add('first factor', true, 'none here: the client has checked it');
    else if (proof) add('first factor', isProven, describeProof(proof, kind), proof.tookMs);
    else add('first factor', false, 'not asked: it was decided before');
    if (kind !== 'none' && !isProven) return steps;
  }
  if (outcome.kind === 'challenge') {
    add('second step', true, `asked by ${outcome.method}${sentTo(outcome.sentTo)}`);
  } else if (outcome.kind === 'verdict') {
    const { approved, skipped, reason } = outcome;
    const text = approved ? (skipped ? `skipped: ${skipped}` : 'passed') : `not passed: ${reason}`;
    const by = heard.waited && `asked by ${heard.waited.method}, answered elsewhere: `;
    add('second step', approved, `${by ?? ''}${text}`, heard.waited?.tookMs);
  }
  return steps;
}

function describeTyped(
  { password, code, method }: VerificationAttempt,
  { isAnswer, isEmpty }: { isAnswer: boolean; isEmpty: boolean },
): string {
  if (isEmpty) return 'nothing';
  const second =
    code !== null
      ? describeCode(code)
      : method !== null
        ? `the choice of a method (${method})`
        : null;
  if (isAnswer) return `${second ?? 'nothing'}, as the answer`;
  if (password === null) return second ?? 'nothing';
  return second === null ? 'a password alone' : `a password, and ${second} behind it`;
}

function describeCode(code: string): string {
  return /^\d+$/.test(code) ? `a code of ${code.length} digits` : 'a code that is no number';
}

function describeProof({ judged, target }: PasswordProof, kind: 'directory' | 'radius'): string {
  const by = target === null ? '' : ` by the ${kind === 'radius' ? 'target' : kind} ${target.name}`;
  if (judged.kind === 'right') return `right${by}`;
  if (judged.kind === 'wrong') return `wrong${by}: wrong_password`;
  return `refused${by}: ${judged.reason}`;
}

function sentTo(to: string | null): string {
  return to === null ? '' : `, sent to ${to}`;
}

function reportOf(
  result: Extract<ClientResult, { kind: 'answered' }> | null,
  { judged }: Heard,
): Report {
  const why = judged && whyJudged(judged);
  if (!result) {
    return { outcome: 'unanswered', reason: why, question: null, attributes: [] };
  }
  const { code } = result;
  const attributes = showAttributes(result.attributes.filter(({ type }) => type !== SIGNATURE));
  if (code === packetCodes.accessAccept) {
    return { outcome: 'accept', reason: why, question: null, attributes };
  }
  const state = findValue(result.attributes, 'State');
  if (code !== packetCodes.accessChallenge || !state) {
    return { outcome: 'reject', reason: why, question: null, attributes };
  }
  const text = findText(result.attributes, 'Reply-Message') ?? '';
  const question = { text, state: state.toString('base64') };
  return { outcome: 'challenge', reason: null, question, attributes };
}

function endOf(
  result: ClientResult | null,
  { outcome, reason }: Report,
  { heard, tookMs, isServing }: { heard: Heard; tookMs: number; isServing: boolean },
): Step[] {
  const { judged, judgedMs, isDropped } = heard;
  const because = reason === null ? '' : `: ${reason}`;
  const verdict = {
    accept: `approved${because}`,
    reject: `denied${because}`,
    challenge: 'none yet: a question',
    unanswered: `none${because}`,
  }[outcome];
  const steps: Step[] = [];
  if (judged) {
    const ok = outcome === 'accept' || outcome === 'challenge';
    steps.push({ step: 'verdict', ok, text: verdict, tookMs: judgedMs });
  }
  const replies = {
    accept: 'Access-Accept',
    reject: 'Access-Reject',
    challenge: 'Access-Challenge',
    unanswered: describeSilence({ isDropped, isServing, isRefused: heard.refusal !== null }),
  };
  const signed = result ? ', signed as it should be' : '';
  const text = `${replies[outcome]}${signed}`;
  steps.push({ step: 'reply', ok: result !== null, text, tookMs });
  return steps;
}

function describeSilence(why: {
  isDropped: boolean;
  isServing: boolean;
  isRefused: boolean;
}): string {
  if (why.isRefused) return 'none';
  if (!why.isServing) return 'none: this node cannot verify now, see countersign status';
  if (why.isDropped) return 'none: dropped, so that the client sends it again';
  return `none within ${TRIAL_MS / 1000} s`;
}
