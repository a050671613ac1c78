import { readSettings } from '@countersign/database';
import { checkReplies, sealRadiusSecret } from '@countersign/operations';
import {
  newRadiusClient,
  RADIUS_CLIENT_DEFAULTS,
  RADIUS_CLIENTS_MAX,
  type RadiusClientDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { conflictOfClient, firstFactorOf, flawOfClient } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const addRadiusClientArgs = z.strictObject({ client: newRadiusClient });

export async function addRadiusClient(
  context: PlanContext,
  { client: given }: z.output<typeof addRadiusClientArgs>,
): Promise<Plan> {
  const all = await readSettings(context.db);
  if (all.radiusClients.length >= RADIUS_CLIENTS_MAX) {
    return refuse(409, 'too_many_radius_clients', `there are ${RADIUS_CLIENTS_MAX} already`);
  }
  const id = deriveId(context.commandId, 'radius-client');
  const { secret, ...fields } = { ...RADIUS_CLIENT_DEFAULTS, ...given };
  const conflict = conflictOfClient(all, { ...fields, id });
  if (conflict) return conflict;
  const found = firstFactorOf(all, fields.firstFactor);
  if ('kind' in found) return found;
  const replies = checkReplies(fields.replies);
  if ('flaw' in replies) return refuse(400, 'invalid_attribute', replies.flaw);
  const at = context.now.toISOString();
  const content: RadiusClientDocument = {
    ...fields,
    id,
    firstFactor: found.factor,
    replies: replies.checked,
    sealedSecret: sealRadiusSecret(context.keys.seed, { ...fields, id }, secret),
    createdAt: at,
    updatedAt: at,
  };
  const flaw = flawOfClient(content);
  if (flaw) return flaw;
  const { name, application, addresses, messageAuthenticator } = content;
  const details = { radiusClient: name, application, addresses, messageAuthenticator };
  return {
    kind: 'change',
    document: { kind: 'radius-client', id, removed: false, content },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { ...details, firstFactor: fields.firstFactor.kind },
    },
  };
}
