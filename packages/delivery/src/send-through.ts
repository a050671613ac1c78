import { setTimeout as wait } from 'node:timers/promises';

import { ProviderCircuit } from './provider-circuit.ts';
import type { Sender, SendOptions, SendOutcome, SendResult } from './sender.ts';

/** What one provider was asked and answered: for events and metrics. */
export interface SendAttempt {
  messageId: string;
  provider: string;
  /** 1 for the first time this message was given to this provider. */
  attempt: number;
  ms: number;
  result: SendResult;
}

export interface SendThroughOptions<Message> {
  /** In the order in which they are tried. */
  senders: readonly Sender<Message>[];
  /** What one provider gets of the time that is left. */
  perProviderMs: number;
  /**
   * After a provider that fell silent. `next` for texts: somebody is waiting for the code, it works
   * once however often it arrives, and a second text costs cents. `stop` for mails: nobody is to get
   * the same mail twice, and the queue says that it may have arrived.
   */
  afterUnknown: 'next' | 'stop';
  /** Called after every attempt; must not throw. */
  onAttempt: (attempt: SendAttempt) => void;
  /** Monotonic milliseconds. */
  now?: () => number;
}

const rounds = 2;
const pauseBetweenRoundsMs = 300;
const maxInFlight = 256;
// A sender that outlives its own deadline is not waited for.
const graceMs = 250;
// Less than this is not worth a connection.
const leastMs = 20;

/**
 * One sender out of several: each in turn until one has sent the message, then those that failed
 * once more. A provider that keeps failing is passed over for a while (ProviderCircuit); were all of
 * them, the one whose pause ends first is tried. At most 256 messages at a time, more `failed` at once.
 */
export function createSendThrough<Message extends { id: string }>(
  options: SendThroughOptions<Message>,
): Sender<Message> {
  const { senders, now = () => performance.now() } = options;
  const providers = senders.map((sender) => ({ sender, circuit: new ProviderCircuit() }));
  let inFlight = 0;

  async function send(message: Message, { timeoutMs, signal }: SendOptions): Promise<SendResult> {
    const giveUpAt = now() + timeoutMs;
    const remainingMs = () => giveUpAt - now();
    const results: SendResult[] = [];
    const worthTrying = new Set(chooseProviders());
    for (let round = 1; round <= rounds && worthTrying.size > 0; round += 1) {
      if (round > 1 && !(await pause(Math.min(pauseBetweenRoundsMs, remainingMs()), signal))) break;
      for (const provider of worthTrying) {
        if (signal?.aborted || remainingMs() < leastMs) break;
        // Timers of Node take whole milliseconds only.
        const timeLeftMs = Math.floor(Math.min(options.perProviderMs, remainingMs()));
        const result = await attempt(provider, { message, round, timeLeftMs, signal });
        if (result.sent) return result;
        results.push(result);
        if (result.outcome === 'unknown' && options.afterUnknown === 'stop') return result;
        // What was refused would be again, and what may have arrived is not sent twice by one.
        if (result.outcome !== 'failed') worthTrying.delete(provider);
      }
    }
    return summarise(results);
  }

  type Provider = (typeof providers)[number];

  function chooseProviders(): Provider[] {
    const open = providers.filter(({ circuit }) => circuit.mayTry(now()));
    if (open.length > 0) return open;
    return providers.toSorted((a, b) => a.circuit.pausedUntil - b.circuit.pausedUntil).slice(0, 1);
  }

  async function attempt(
    { sender, circuit }: Provider,
    about: { message: Message; round: number; timeLeftMs: number; signal: AbortSignal | undefined },
  ): Promise<SendResult> {
    const { message, round, timeLeftMs, signal } = about;
    const startedAt = now();
    circuit.begin(startedAt);
    const result = await boundedSend(sender, message, {
      timeoutMs: timeLeftMs,
      ...(signal && { signal }),
    });
    // A refusal is an answer: the provider lives. Our own abort says nothing about it.
    if (result.sent || result.outcome === 'refused') circuit.succeed();
    else if (!signal?.aborted) circuit.fail(now());
    const ms = now() - startedAt;
    options.onAttempt({
      messageId: message.id,
      provider: sender.name,
      attempt: round,
      ms,
      result,
    });
    return result;
  }

  return {
    name: senders.map(({ name }) => name).join(', '),
    send: async (message, sendOptions) => {
      if (inFlight >= maxInFlight) {
        return notSent('failed', `${maxInFlight} messages are on their way already`);
      }
      inFlight += 1;
      try {
        return await send(message, sendOptions);
      } finally {
        inFlight -= 1;
      }
    },
  };
}

async function boundedSend<Message>(
  sender: Sender<Message>,
  message: Message,
  options: SendOptions,
): Promise<SendResult> {
  const provider = sender.name;
  const outcome = 'unknown' as const;
  const overdue = new AbortController();
  const late = wait(options.timeoutMs + graceMs, undefined, { signal: overdue.signal }).then(
    (): SendResult => ({
      sent: false,
      provider,
      outcome,
      reason: 'the sender did not end in time',
    }),
    (): SendResult => ({ sent: false, provider, outcome, reason: 'ended' }),
  );
  const sent = sender.send(message, options).catch((error: unknown): SendResult => {
    const name = error instanceof Error ? error.name : 'error';
    return { sent: false, provider, outcome, reason: `the sender broke (${name})` };
  });
  try {
    return await Promise.race([sent, late]);
  } finally {
    overdue.abort();
  }
}

/** False when there is no point in going on. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  if (ms < leastMs) return false;
  return await wait(ms, true, signal ? { signal } : {}).catch(() => false);
}

// What is the worst that may be true of the message: it may have arrived; it did not, now; never.
function summarise(results: readonly SendResult[]): SendResult {
  for (const outcome of ['unknown', 'failed', 'refused'] as const) {
    const found = results.findLast((result) => !result.sent && result.outcome === outcome);
    if (found) return found;
  }
  return notSent('failed', 'no provider was tried in the time there was');
}

function notSent(outcome: SendOutcome, reason: string): SendResult {
  return { sent: false, provider: 'none', outcome, reason };
}
