import { isDeepStrictEqual } from 'node:util';
import { readSettings } from '@countersign/database';
import { checkPassAttributes } from '@countersign/operations';
import {
  radiusName,
  radiusTargetFields,
  type RadiusTargetDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { findNamed } from './find-directory.ts';
import { radiusTargetNameTaken, targetNamed } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';
import { sealedSecretOf } from './radius-secret-of.ts';
import { toldOfRadius } from './set-radius-client.ts';

export const setRadiusTargetArgs = z.strictObject({
  name: z.string().max(64),
  changes: radiusTargetFields.extend({ name: radiusName.optional() }),
});

export async function setRadiusTarget(
  context: PlanContext,
  { name, changes }: z.output<typeof setRadiusTargetArgs>,
): Promise<Plan> {
  const all = await readSettings(context.db);
  const before = targetNamed(all, name);
  if ('kind' in before) return before;
  const { secret, passAttributes, ...fields } = changes;
  const namesake = findNamed(all.radiusTargets, changes.name ?? before.name);
  if (namesake && namesake.id !== before.id) return radiusTargetNameTaken(namesake.name);
  const pass = passAttributes && checkPassAttributes(passAttributes);
  if (pass && 'flaw' in pass) return refuse(400, 'invalid_attribute', pass.flaw);
  const after: RadiusTargetDocument = {
    ...before,
    ...fields,
    ...(pass && { passAttributes: pass.checked }),
  };
  const sealedSecret = sealedSecretOf(context, { before, after, secret });
  if (typeof sealedSecret !== 'string') return sealedSecret;
  const content = { ...after, sealedSecret };
  const { id } = before;
  if (isDeepStrictEqual(content, before)) return { kind: 'unchanged', result: { id } };
  return {
    kind: 'change',
    document: {
      kind: 'radius-target',
      id,
      removed: false,
      content: { ...content, updatedAt: context.now.toISOString() },
    },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { radiusTarget: before.name, ...toldOfRadius(before, content) },
    },
  };
}
