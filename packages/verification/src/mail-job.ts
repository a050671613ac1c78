import { z } from 'zod';

export const MAIL_RETRIES_MAX = 100;
const ATTEMPTS_MAX = 100;

const place = z.int().min(0);

/** A mail by what it is about: it holds neither address nor text, and is written anew from its event. */
const mail = z.strictObject({
  /** The same on every master: makes its Message-ID. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  event: z.uuid().lowercase(),
  /** When that happened, by its own clock. */
  at: z.iso.datetime().max(30),
  /** Times it was handed to the mail server so far. */
  attempts: z.int().min(0).max(ATTEMPTS_MAX),
  /** Its last answer was lost, once at least. */
  mayHaveArrived: z.boolean(),
});

/** How far the master's mailing is: the event stream is the queue, and this its place in it. */
export const mailJobDocument = z.strictObject({
  id: z.literal('mail'),
  /** Every event up to here is dealt with; of this one the first `mails`, null: all. Null: no mail is configured. */
  cursor: z
    .strictObject({ incarnation: place, arrival: place, mails: place.nullable() })
    .nullable(),
  /** Handed to the mail server from now on; its outcome is not known here. */
  sending: mail.nullable(),
  retries: z
    .array(z.strictObject({ ...mail.shape, dueAt: z.iso.datetime().max(30) }))
    .max(MAIL_RETRIES_MAX),
});

export type MailJobDocument = z.infer<typeof mailJobDocument>;
export type QueuedMail = z.infer<typeof mail>;
export type MailCursor = NonNullable<MailJobDocument['cursor']>;
