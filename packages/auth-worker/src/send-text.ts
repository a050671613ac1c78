import {
  checkPhoneNumber,
  countSegments,
  createSendThrough,
  createTextSender,
  NodeTextBudget,
  renderText,
  TemplateError,
  type AddressPolicy,
  type SendAttempt,
  type Sender,
  type SendResult,
  type TextMessage,
} from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { phonePolicyOf, textProvidersOf, type TextProviders } from '@countersign/operations';
import type { Settings } from '@countersign/verification';
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { WorkerEvents } from './events.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { TextToSend } from './verifier-options.ts';

export type SendTextsOptions = {
  seedKey: PurposeKey;
  /** A node's limits are shared evenly by so many workers. */
  workers: number;
  policy: AddressPolicy;
  /** Takes every text instead of the providers. Only a demo has one. */
  outbox: Sender<TextMessage> | null;
  events: Pick<WorkerEvents, 'textBudgetAlarm'>;
  metrics: Pick<WorkerMetrics, 'countTextAttempt' | 'countTextRefused'>;
  log: Pick<Logger, 'warn'>;
};

export type TextOutcome = { sent: boolean; details: Record<string, unknown> };

/** Everything together, a sender that ignores its own deadline included. */
export const TEXT_DEADLINE_MS = 8000;
const SEND_TIMEOUT_MS = TEXT_DEADLINE_MS - 500;
const PER_PROVIDER_MS = 4000;

/**
 * Sends the texts of one worker through the providers that the settings name, in their order. Their
 * circuits last as long as the setting stays as it is, the budget as long as the worker.
 */
export class TextSending {
  readonly #options: SendTextsOptions;
  readonly #budget = new NodeTextBudget();
  readonly #attempts = new Map<string, SendAttempt[]>();
  #chain: { sealed: string; sender: Sender<TextMessage> | null } | null = null;
  #providers: { sealed: string; list: TextProviders } | null = null;

  constructor(options: SendTextsOptions) {
    this.#options = options;
  }

  /** Never rejects. `details` are for the event and hold the number only where the settings want it there. */
  async send(text: TextToSend): Promise<TextOutcome> {
    const { settings } = text;
    const phone = settings.events.recordPhones ? { phone: text.number } : {};
    const refuse = (why: string): TextOutcome => {
      this.#options.metrics.countTextRefused(why);
      return { sent: false, details: { ...phone, error: why } };
    };
    const sender = this.#options.outbox ?? this.#senderFor(settings);
    if (!sender) return refuse('no_text_provider');
    const number = checkPhoneNumber(text.number, phonePolicyOf(settings), 'text');
    if (!number.ok) return refuse(number.reason);
    const rendered = this.#render(text);
    if (rendered === null) return refuse('template');
    const over = this.#spend(number.number, settings);
    if (over) return refuse(over);
    const message = { id: uuidv7(), to: number.number, text: rendered };
    const { result, attempts } = await this.#sendThrough(sender, message);
    return { sent: result.sent, details: { ...phone, text: tell(result, attempts, rendered) } };
  }

  /** Whether there is anything to send one through. */
  canSend(settings: Settings): boolean {
    return (this.#options.outbox ?? this.#senderFor(settings)) !== null;
  }

  /** What the settings hold, in their order; none, and a line in the log, where they cannot be read. */
  providersOf(settings: Settings): TextProviders {
    const { seedKey, log } = this.#options;
    const sealed = settings.text.providers?.sealed ?? '';
    if (this.#providers?.sealed === sealed) return this.#providers.list;
    let list: TextProviders = [];
    try {
      list = textProvidersOf(seedKey, settings);
    } catch (error) {
      // What it says may hold secrets.
      const name = error instanceof Error ? error.name : 'error';
      log.warn({ error: name }, 'text.providers cannot be read: set it again');
    }
    this.#providers = { sealed, list };
    return list;
  }

  #senderFor(settings: Settings): Sender<TextMessage> | null {
    const sealed = settings.text.providers?.sealed ?? '';
    if (this.#chain?.sealed === sealed) return this.#chain.sender;
    const providers = this.providersOf(settings);
    const sender = providers.length === 0 ? null : this.#chainOf(providers);
    this.#chain = { sealed, sender };
    return sender;
  }

  #chainOf(providers: TextProviders): Sender<TextMessage> {
    const { policy } = this.#options;
    return createSendThrough({
      senders: providers.map((provider) => createTextSender(provider, policy)),
      perProviderMs: PER_PROVIDER_MS,
      afterUnknown: 'next',
      onAttempt: (attempt) => this.#note(attempt),
    });
  }

  #note(attempt: SendAttempt): void {
    this.#attempts.get(attempt.messageId)?.push(attempt);
    this.#options.metrics.countTextAttempt(attempt);
  }

  async #sendThrough(
    sender: Sender<TextMessage>,
    message: TextMessage,
  ): Promise<{ result: SendResult; attempts: SendAttempt[] }> {
    const attempts: SendAttempt[] = [];
    this.#attempts.set(message.id, attempts);
    try {
      const startedAt = performance.now();
      const result = await sender.send(message, { timeoutMs: SEND_TIMEOUT_MS });
      const ms = performance.now() - startedAt;
      if (sender === this.#options.outbox) {
        this.#note({ messageId: message.id, provider: sender.name, attempt: 1, ms, result });
      }
      return { result, attempts };
    } finally {
      this.#attempts.delete(message.id);
    }
  }

  #render({ user, code, application, settings, minutes }: TextToSend): string | null {
    const mode = user.modes?.text ?? settings.methods.textMode;
    const { name, language } = settings.company;
    try {
      return renderText(
        mode === 'otp+pin' ? 'oneTimeCodeAndPin' : 'oneTimeCode',
        {
          company_name: name,
          application_name: application ?? name,
          code,
          expiry_minutes: minutes,
        },
        { languages: [user.language, language] },
      );
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      this.#options.log.warn({ error: error.message }, 'a text could not be written');
      return null;
    }
  }

  /** Null: there is room. Nobody waits until an alarm is told. */
  #spend(number: string, { texts }: Settings): string | null {
    const { workers, events, log } = this.#options;
    const share = (limit: number) => Math.max(1, Math.ceil(limit / workers));
    const limits = {
      perPrefixPerHour: share(texts.perPrefixAndHour),
      perHour: share(texts.perNodeAndHour),
    };
    const verdict = this.#budget.spend(number, Date.now(), limits);
    if (!verdict.allowed) return `text_budget_${verdict.reason}`;
    for (const alarm of verdict.alarms) {
      const perHour = alarm.limit === 'node' ? texts.perNodeAndHour : texts.perPrefixAndHour;
      events.textBudgetAlarm({ ...alarm, perHour }).catch((error: unknown) => {
        log.warn({ error: String(error) }, 'a budget alarm could not be told');
      });
    }
    return null;
  }
}

/** For the event: who was asked, for how long, what came of it and what it costs. */
function tell(
  result: SendResult,
  attempts: readonly SendAttempt[],
  text: string,
): Record<string, unknown> {
  const cost = result.sent ? (result.cost ?? { segments: countSegments(text).segments }) : {};
  return {
    provider: result.provider,
    outcome: result.sent ? 'sent' : result.outcome,
    ...(result.sent ? {} : { why: result.reason }),
    ...(result.sent && result.providerId !== undefined && { messageId: result.providerId }),
    ...cost,
    attempts: attempts.map((attempt) => ({
      provider: attempt.provider,
      ms: Math.round(attempt.ms),
      outcome: attempt.result.sent ? 'sent' : attempt.result.outcome,
      ...(!attempt.result.sent && { why: attempt.result.reason }),
    })),
  };
}
