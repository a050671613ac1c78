import { findStopFact, findUserById, listAdministrators, listApiKeys } from '@countersign/database';
import { absorbStopFact, type StopFact } from '@countersign/verification';
import { z } from 'zod';
import type { Plan, PlanContext } from './plan.ts';

export const applyStopFactArgs = z.strictObject({ id: z.uuid() });

/** Makes a change of a stop fact that this node knows. Its id in the user's document keeps it from being made again. */
export async function applyStopFact(
  context: PlanContext,
  { id }: z.output<typeof applyStopFactArgs>,
): Promise<Plan> {
  const fact = await findStopFact(context.db, id);
  if (fact?.kind === 'user') return blockUser(context, fact);
  if (fact?.kind === 'api-key') return revokeKey(context, fact);
  if (fact?.kind === 'administrator') return removeAdministrator(context, fact);
  return NOTHING;
}

const NOTHING: Plan = { kind: 'unchanged', result: {} };

async function blockUser(context: PlanContext, fact: StopFact): Promise<Plan> {
  const user = await findUserById(context.db, fact.subject);
  if (!user) return NOTHING;
  const content = absorbStopFact(user, fact);
  if (content === user) return NOTHING;
  return {
    kind: 'change',
    document: {
      kind: 'user',
      id: user.id,
      removed: false,
      content: { ...content, updatedAt: context.now.toISOString() },
    },
    result: { userId: user.id },
    event: { userId: user.id, username: user.username, details: detailsOf(fact) },
  };
}

async function revokeKey(context: PlanContext, fact: StopFact): Promise<Plan> {
  const key = (await listApiKeys(context.db)).find(({ document }) => document.id === fact.subject);
  if (!key) return NOTHING;
  return {
    kind: 'change',
    document: { kind: 'api-key', id: fact.subject, removed: true, content: null },
    result: { id: fact.subject },
    event: {
      userId: null,
      username: null,
      details: { ...detailsOf(fact), apiKey: key.document.id, name: key.document.name },
    },
  };
}

async function removeAdministrator(context: PlanContext, fact: StopFact): Promise<Plan> {
  const stored = await listAdministrators(context.db);
  const found = stored.find(({ document }) => document.id === fact.subject);
  if (!found) return NOTHING;
  return {
    kind: 'change',
    document: { kind: 'administrator', id: fact.subject, removed: true, content: null },
    result: { id: fact.subject },
    event: {
      userId: null,
      username: null,
      details: { ...detailsOf(fact), administrator: found.document.username },
    },
  };
}

function detailsOf({ id, reason, node, at }: StopFact): Record<string, unknown> {
  return { stopFact: id, reason, acceptedBy: node, acceptedAt: at };
}
