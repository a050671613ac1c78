import { createHash } from 'node:crypto';
import type { TextCallback, TextCallbackOutcome } from '@countersign/api';
import { callbackAuthToken, readTwilioCallback } from '@countersign/delivery';
import type { Settings } from '@countersign/verification';
import type { WorkerEvents } from './events.ts';
import type { TextProviderSettings } from './send-text.ts';

export type TextCallbacksOptions = {
  readSettings(): Promise<Settings>;
  providersOf(settings: Settings): TextProviderSettings[];
  events: Pick<WorkerEvents, 'textStatus'>;
};

/** Anybody may knock: what is set is read from PostgreSQL this often at most. */
const SETTINGS_FOR_MS = 1000;
/** Older ones may be told again; the events' own ids keep them from being written twice on a day. */
const REMEMBERED_MAX = 10_000;

/** What providers tell about texts on their way, each (message, status) once. */
export class TextCallbacks {
  readonly #options: TextCallbacksOptions;
  readonly #taken = new Set<string>();
  #settings: { readAt: number; reading: Promise<Settings> } | null = null;

  constructor(options: TextCallbacksOptions) {
    this.#options = options;
  }

  /** Rejects while PostgreSQL is away: the provider tells it again. */
  async take({ body, signature }: TextCallback): Promise<TextCallbackOutcome> {
    const settings = await this.#readSettings();
    for (const provider of this.#options.providersOf(settings)) {
      if (provider.kind !== 'twilio' || provider.statusCallbackUrl === undefined) continue;
      const authToken = callbackAuthToken(provider);
      if (authToken === undefined) continue;
      const publicUrl = provider.statusCallbackUrl;
      const read = readTwilioCallback({ body, signature, authToken, publicUrl });
      if (read.verdict === 'accepted') {
        // Nobody is asked to answer by text.
        if (read.callback.kind !== 'status') return 'malformed';
        await this.#record(provider.name, read.callback);
        return 'taken';
      }
      if (read.reason !== 'bad_signature') return 'malformed';
    }
    return 'refused';
  }

  async #record(
    provider: string,
    status: { messageSid: string; status: string; errorCode?: number },
  ): Promise<void> {
    const { messageSid: messageId, ...told } = status;
    const item = JSON.stringify([provider, messageId, told.status]);
    if (this.#taken.has(item)) return;
    await this.#options.events.textStatus(idOf(item), {
      provider,
      messageId,
      status: told.status,
      ...(told.errorCode !== undefined && { errorCode: told.errorCode }),
    });
    this.#taken.add(item);
    if (this.#taken.size > REMEMBERED_MAX) this.#taken.delete(this.#taken.values().next().value!);
  }

  #readSettings(): Promise<Settings> {
    const now = performance.now();
    if (this.#settings && now - this.#settings.readAt < SETTINGS_FOR_MS) {
      return this.#settings.reading;
    }
    const reading = this.#options.readSettings();
    const cached = { readAt: now, reading };
    this.#settings = cached;
    reading.catch(() => {
      if (this.#settings === cached) this.#settings = null;
    });
    return reading;
  }
}

/** The same on every node (UUIDv8). */
function idOf(item: string): string {
  const bytes = createHash('sha256').update(`text-status\0${item}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
