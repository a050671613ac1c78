import { isDeepStrictEqual } from 'node:util';
import { readSettings } from '@countersign/database';
import { checkReplies } from '@countersign/operations';
import {
  radiusClientFields,
  radiusName,
  type RadiusClientDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { clientNamed, conflictOfClient, firstFactorOf, flawOfClient } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';
import { sealedSecretOf } from './radius-secret-of.ts';

export const setRadiusClientArgs = z.strictObject({
  name: z.string().max(64),
  changes: radiusClientFields.extend({ name: radiusName.optional() }),
});

export async function setRadiusClient(
  context: PlanContext,
  { name, changes }: z.output<typeof setRadiusClientArgs>,
): Promise<Plan> {
  const all = await readSettings(context.db);
  const before = clientNamed(all, name);
  if ('kind' in before) return before;
  const { secret, firstFactor, replies, ...fields } = changes;
  const found = firstFactor ? firstFactorOf(all, firstFactor) : { factor: before.firstFactor };
  if ('kind' in found) return found;
  const checked = replies && checkReplies(replies);
  if (checked && 'flaw' in checked) return refuse(400, 'invalid_attribute', checked.flaw);
  const after: RadiusClientDocument = {
    ...before,
    ...fields,
    firstFactor: found.factor,
    ...(checked && { replies: checked.checked }),
  };
  const refusal = conflictOfClient(all, after) ?? flawOfClient(after);
  if (refusal) return refusal;
  const sealedSecret = sealedSecretOf(context, { before, after, secret });
  if (typeof sealedSecret !== 'string') return sealedSecret;
  const content = { ...after, sealedSecret };
  const { id } = before;
  if (isDeepStrictEqual(content, before)) return { kind: 'unchanged', result: { id } };
  const told = toldOfRadius(before, content);
  // By the names that were given: ids mean nothing to whoever reads events.
  if (told.firstFactor !== undefined) told.firstFactor = firstFactor;
  return {
    kind: 'change',
    document: {
      kind: 'radius-client',
      id,
      removed: false,
      content: { ...content, updatedAt: context.now.toISOString() },
    },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { radiusClient: before.name, ...told },
    },
  };
}

/** What changed, by its name; of a secret only that it was sealed anew. */
export function toldOfRadius<T extends object>(before: T, after: T): Record<string, unknown> {
  const changed = Object.entries(after).filter(
    ([key, value]) => !isDeepStrictEqual(value, before[key as keyof T]),
  );
  return Object.fromEntries(
    changed.map(([key, value]) =>
      key === 'sealedSecret' ? ['secret', 'sealed anew'] : [key, value],
    ),
  );
}
