/** A text message. */
export interface TextMessage {
  /** The caller's own id of this message, `[A-Za-z0-9.-]`, at most 64 characters. */
  id: string;
  /** E.164, from `checkPhoneNumber`. */
  to: string;
  text: string;
}

/** A mail to one person: several people are several mails, each with an outcome of its own. */
export interface MailMessage {
  /** The caller's own id of this mail, `[A-Za-z0-9.-]`, at most 64; becomes its Message-ID. */
  id: string;
  to: string;
  subject: string;
  /** Plain text; lines end in \n. */
  text: string;
}

export interface SendOptions {
  /** Everything together ends within this time; the result then says what is known. */
  timeoutMs: number;
  /** Gives up early, with the result that a time-out would have had. */
  signal?: AbortSignal;
}

/** `amount` only where the provider named a price or the settings hold one. */
export interface Cost {
  segments: number;
  amount?: number;
  currency?: string;
}

/**
 * refused: the provider will not send this message; again would change nothing.
 * failed: it certainly did not go out, and may at another time.
 * unknown: it left us and no answer came; it may have been sent.
 */
export type SendOutcome = 'refused' | 'failed' | 'unknown';

/** `reason` is for operators; it never holds the message, its address or a secret. */
export type SendResult =
  | { sent: true; provider: string; providerId?: string; cost?: Cost }
  | { sent: false; provider: string; outcome: SendOutcome; reason: string };

/** What carries a message to its provider. It answers with a value and never rejects. */
export interface Sender<Message> {
  readonly name: string;
  send(message: Message, options: SendOptions): Promise<SendResult>;
}

export function isMessageId(id: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/.test(id) && !id.includes('..') && !id.endsWith('.');
}
