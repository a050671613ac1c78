import { isIP } from 'node:net';
import { checkUsername, isSafeText, type StopFact } from '@countersign/verification';
import { z } from 'zod';
import { normaliseAddress } from './client-address.ts';
import { PROBLEM_TYPE, problemSchema } from './problem.ts';

/** One line of text that is safe to store and show. Bounds are UTF-8 bytes. */
export function plainText(bounds: { minBytes: number; maxBytes: number }) {
  return z.string().check((context) => {
    const sizeBytes = Buffer.byteLength(context.value);
    const refuse = (message: string) =>
      context.issues.push({ code: 'custom', message, input: context.value });
    if (!isSafeText(context.value)) refuse('must not contain control or invisible characters');
    if (sizeBytes < bounds.minBytes) refuse('must not be empty');
    if (sizeBytes > bounds.maxBytes) refuse(`must be at most ${bounds.maxBytes} bytes long`);
  });
}

export const username = z
  .string()
  .trim()
  .check((context) => {
    const message = checkUsername(context.value);
    if (message === null) return;
    context.issues.push({
      code: 'custom',
      message: `is no username: ${message}`,
      input: context.value,
    });
  });
export const name = plainText({ minBytes: 1, maxBytes: 256 });
export const usernameParams = z.strictObject({ username });
export const noQuery = z.strictObject({});

export const ipAddress = z
  .string()
  .max(45)
  .refine((text) => isIP(text) !== 0, 'must be an IP address')
  .overwrite((text) => normaliseAddress(text) ?? text);

/** Query values are text; this takes whole numbers between the bounds. */
export function countInQuery(bounds: { max: number; default: number }) {
  return z
    .string()
    .refine(
      (text) => /^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= bounds.max,
      `must be a whole number from 1 to ${bounds.max}`,
    )
    .default(String(bounds.default));
}

export const timestamp = z.string();

/** Judged by the master, by the settings for PINs. */
export const pinText = z.string().min(1).max(64);

/** Kept with what it explains. */
export const reason = plainText({ minBytes: 1, maxBytes: 500 });

/** What every reply to a change carries: where it stands in the log and whether this node has applied it. */
export const writeReply = {
  revision: z.int().describe("The change's place in the log."),
  applied: z.boolean().describe('Whether the node that answered has applied it.'),
};

/** The reply of a node that did without a master what only takes rights away. */
export const stoppedReply = z.object({
  asStopFact: z.literal(true),
  stopFact: z.object({
    id: z.string(),
    at: timestamp,
    expiresAt: timestamp.nullable(),
  }),
});

export function replyToStop({ fact }: { fact: StopFact }): z.output<typeof stoppedReply> {
  const { id, at, expiresAt } = fact;
  return { asStopFact: true, stopFact: { id, at, expiresAt } };
}

/** The reply of everything that is not a success. */
export const problemReply = {
  default: {
    description: 'A problem (RFC 9457); `code` is stable',
    content: { [PROBLEM_TYPE]: { schema: problemSchema } },
  },
};
