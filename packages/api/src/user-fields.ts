import { z } from 'zod';
import { plainText } from './schemas.ts';

/** What may be set of a user besides the name; null clears. */
export const userFields = {
  displayName: plainText({ minBytes: 1, maxBytes: 256 }).nullable().optional(),
  email: plainText({ minBytes: 1, maxBytes: 254 })
    .refine((text) => /^[^\s@]+@[^\s@]+$/.test(text), 'must be a mail address')
    .nullable()
    .optional(),
  enabled: z.boolean().optional(),
};
