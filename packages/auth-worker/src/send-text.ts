import {
  checkPhoneNumber,
  countSegments,
  createGenericHttpSender,
  createSendThrough,
  createTwilioSender,
  NodeTextBudget,
  renderText,
  TemplateError,
  textProviderSettings,
  type AddressPolicy,
  type GenericHttpSettings,
  type SendAttempt,
  type Sender,
  type SendResult,
  type TextMessage,
  type TwilioSettings,
} from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { openSetting } from '@countersign/operations';
import type { Settings } from '@countersign/verification';
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import type { WorkerEvents } from './events.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { TextToSend } from './verifier.ts';

export type TextProviderSettings = TwilioSettings | GenericHttpSettings;

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
  #providers: { sealed: string; list: TextProviderSettings[] } | null = null;

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
    const { defaultCountry, countries } = settings.text;
    const allowedCountries = countries.length > 0 ? countries : [defaultCountry];
    const number = checkPhoneNumber(text.number, { defaultCountry, allowedCountries }, 'text');
    if (!number.ok) return refuse(number.reason);
    const rendered = this.#render(text);
    if (rendered === null) return refuse('template');
    const over = await this.#spend(number.number, settings);
    if (over) return refuse(over);
    const message = { id: uuidv7(), to: number.number, text: rendered };
    const { result, attempts } = await this.#sendThrough(sender, message);
    return { sent: result.sent, details: { ...phone, text: tell(result, attempts, rendered) } };
  }

  /** What the settings hold, in their order; a provider that cannot be used is left out and logged. */
  providersOf(settings: Settings): TextProviderSettings[] {
    const { seedKey, log } = this.#options;
    const sealed = settings.text.providers?.sealed ?? '';
    if (this.#providers?.sealed === sealed) return this.#providers.list;
    const list: TextProviderSettings[] = [];
    try {
      for (const each of readList(openSetting(seedKey, settings, 'text.providers'))) {
        const parsed = textProviderSettings.safeParse(each);
        if (parsed.success) list.push(parsed.data);
        // Where it is wrong, not what it says: secrets stand there.
        else log.warn({ wrong: wrongFields(parsed.error) }, 'a text provider cannot be used');
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'the text providers cannot be read');
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

  #chainOf(providers: readonly TextProviderSettings[]): Sender<TextMessage> {
    const { policy } = this.#options;
    return createSendThrough({
      senders: providers.map((provider) =>
        provider.kind === 'twilio'
          ? createTwilioSender(provider, policy)
          : createGenericHttpSender(provider, policy),
      ),
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

  /** Null: there is room. Alarms are told before the text leaves, and cost it nothing if they cannot be. */
  async #spend(number: string, { texts }: Settings): Promise<string | null> {
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
      await events.textBudgetAlarm({ ...alarm, perHour }).catch((error: unknown) => {
        log.warn({ error: String(error) }, 'a budget alarm could not be told');
      });
    }
    return null;
  }
}

function readList(json: string | null): unknown[] {
  const list: unknown = json === null ? [] : JSON.parse(json);
  return Array.isArray(list) ? list : [];
}

function wrongFields(error: { issues: readonly { path: readonly PropertyKey[] }[] }): string[] {
  return error.issues.slice(0, 5).map(({ path }) => path.map(String).join('.'));
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
