import { z } from 'zod';
import { isSafeText } from './safe-text.ts';
import { checkUsername } from './username-key.ts';

/** What documents of several kinds have. */

export const id = z.uuid().lowercase();

/** A time that cannot be read would compare as "not blocked", so it is refused here. */
export const instant = z.iso
  .datetime()
  .max(30)
  .refine((text) => Number.isFinite(Date.parse(text)), 'not a moment in time');

/** Of 1 to 256 bytes. */
export const name = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text, 'utf8') <= 256, 'has more than 256 bytes')
  .refine(isSafeText, 'has control, invisible or broken characters');

export const nodeName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);

/** As {@link checkUsername} says. */
export const username = z.string().superRefine((text, context) => {
  const problem = checkUsername(text);
  if (problem) context.addIssue({ code: 'custom', message: problem });
});
