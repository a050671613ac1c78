import { z } from 'zod';
import { instant } from './document-fields.ts';
import { isSafeText } from './safe-text.ts';

const keyId = z.string().regex(/^[0-9a-f]{8}$/);
const line = z
  .string()
  .min(1)
  .max(500)
  .refine(isSafeText, 'has control, invisible or broken characters');
const wish = z.strictObject({ reason: line, by: line });

/** There is one. */
export const KEY_RING_ID = 'cluster';
/** More changes of the key are refused. */
export const KEY_GENERATIONS_MAX = 150;

/** Which generations of the cluster's key there are, and how far the latest change of it is. No key is readable in it. */
export const keyRingDocument = z.strictObject({
  id: z.literal(KEY_RING_ID),
  /** What everything is sealed under from here on. */
  active: keyId,
  /** Oldest first. */
  generations: z
    .array(
      z.strictObject({
        id: keyId,
        madeAt: instant,
        /** For supervisors alone: sealed under the generation before. Gone when that one is retired. */
        sealed: z.base64().max(1024).optional(),
        retiredAt: instant.optional(),
      }),
    )
    .min(1)
    .max(KEY_GENERATIONS_MAX),
  rotation: z.strictObject({
    ...wish.shape,
    from: keyId,
    to: keyId,
    startedAt: instant,
    /** When every node had the new generation. */
    activatedAt: instant.nullable(),
    /** When nothing was left under the old one. */
    finishedAt: instant.nullable(),
    /** Wanted meanwhile: it begins when this one is done. */
    next: wish.optional(),
  }),
});
export type KeyRingDocument = z.infer<typeof keyRingDocument>;
