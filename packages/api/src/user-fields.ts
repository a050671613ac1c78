import { METHODS, MODES } from '@countersign/verification';
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
  /** null: the application's or company's, as with the others below. */
  method: z.enum(METHODS).nullable().optional(),
  /** By method; what is left out stays. */
  modes: z
    .strictObject({
      oath: z.enum(MODES.oath).nullable().optional(),
      text: z.enum(MODES.text).nullable().optional(),
      call: z.enum(MODES.call).nullable().optional(),
      app: z.enum(MODES.app).nullable().optional(),
    })
    .nullable()
    .optional(),
  language: z
    .string()
    .refine((text) => /^[a-z]{2}$/.test(text), 'must be two letters, like nl')
    .nullable()
    .optional(),
};
