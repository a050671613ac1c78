import { readSettings } from '@countersign/database';
import { checkPassAttributes, sealRadiusSecret } from '@countersign/operations';
import {
  newRadiusTarget,
  RADIUS_TARGET_DEFAULTS,
  RADIUS_TARGETS_MAX,
  type RadiusTargetDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { findNamed } from './find-directory.ts';
import { radiusTargetNameTaken } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const addRadiusTargetArgs = z.strictObject({ target: newRadiusTarget });

export async function addRadiusTarget(
  context: PlanContext,
  { target: given }: z.output<typeof addRadiusTargetArgs>,
): Promise<Plan> {
  const { radiusTargets } = await readSettings(context.db);
  if (findNamed(radiusTargets, given.name)) return radiusTargetNameTaken(given.name);
  if (radiusTargets.length >= RADIUS_TARGETS_MAX) {
    return refuse(409, 'too_many_radius_targets', `there are ${RADIUS_TARGETS_MAX} already`);
  }
  const id = deriveId(context.commandId, 'radius-target');
  const { secret, ...fields } = { ...RADIUS_TARGET_DEFAULTS, ...given };
  const pass = checkPassAttributes(fields.passAttributes);
  if ('flaw' in pass) return refuse(400, 'invalid_attribute', pass.flaw);
  const at = context.now.toISOString();
  const content: RadiusTargetDocument = {
    ...fields,
    id,
    passAttributes: pass.checked,
    sealedSecret: sealRadiusSecret(context.keys.seed, { ...fields, id }, secret),
    createdAt: at,
    updatedAt: at,
  };
  const { name, servers, messageAuthenticator } = content;
  return {
    kind: 'change',
    document: { kind: 'radius-target', id, removed: false, content },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { radiusTarget: name, servers, messageAuthenticator },
    },
  };
}
