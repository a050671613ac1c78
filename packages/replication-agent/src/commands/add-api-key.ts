import { BlockList, isIPv6 } from 'node:net';
import { listApiKeys } from '@countersign/database';
import { hashApiKey } from '@countersign/operations';
import { API_SCOPES, apiKeyDocument, type ApiKeyDocument } from '@countersign/verification';
import { z } from 'zod';
import type { Rights } from '../authorise.ts';
import { newApiKey } from '../new-secrets.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

const { networks, applications } = apiKeyDocument.shape;

export const addApiKeyArgs = z.strictObject({
  name: z.string(),
  scopes: z.array(z.enum(API_SCOPES)).min(1).max(API_SCOPES.length),
  applications: applications.default(null),
  networks: networks.default(null),
  expiresAt: z.iso.datetime().max(30).nullish(),
});

/** Listed and searched as a whole. */
const API_KEYS_MAX = 1000;

/** The key itself is shown once; what it may do is no more than whoever makes it may (rule 17). */
export async function addApiKey(
  context: PlanContext,
  args: z.output<typeof addApiKeyArgs>,
): Promise<Plan> {
  const { keys, commandId, now } = context;
  const createdAt = now.toISOString();
  const wanted: Pick<ApiKeyDocument, 'scopes' | 'applications' | 'networks' | 'expiresAt'> = {
    scopes: [...new Set(args.scopes)],
    applications: args.applications,
    networks: args.networks,
    expiresAt: args.expiresAt ? new Date(args.expiresAt).toISOString() : null,
  };
  if (wanted.expiresAt !== null && wanted.expiresAt <= createdAt) {
    return refuse(400, 'invalid_request', 'expiresAt: is not in the future');
  }
  const surplus = rightBeyond(context.rights, wanted);
  if (surplus) return refuse(403, 'forbidden', `nobody grants what they lack: ${surplus}`);
  if ((await listApiKeys(context.db)).length >= API_KEYS_MAX) {
    return refuse(
      409,
      'too_many_api_keys',
      `there are ${API_KEYS_MAX} API keys: revoke some first`,
    );
  }
  const id = deriveId(commandId, 'api-key');
  const key = newApiKey(keys['new-secret'], { commandId, at: createdAt });
  const content: ApiKeyDocument = {
    id,
    name: args.name,
    secretHash: hashApiKey(key),
    ...wanted,
    createdAt,
  };
  return {
    kind: 'change',
    document: { kind: 'api-key', id, removed: false, content },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { apiKey: id, name: args.name, ...wanted },
    },
  };
}

/** What of the wanted rights the own ones do not hold, in words; null: nothing. */
export function rightBeyond(own: Rights, wanted: Rights): string | null {
  const scope = wanted.scopes.find((each) => !own.scopes.includes(each));
  if (scope) return `the scope ${scope}`;
  if (own.applications) {
    if (!wanted.applications) return 'every application';
    const other = wanted.applications.find((each) => !own.applications!.includes(each));
    if (other !== undefined) return 'an application that is not among your own';
  }
  if (own.networks) {
    if (!wanted.networks) return 'every network';
    const isOwn = (network: string) => own.networks!.some((each) => holdsNetwork(each, network));
    const other = wanted.networks.find((network) => !isOwn(network));
    if (other !== undefined) return `the network ${other}`;
  }
  if (own.expiresAt && (!wanted.expiresAt || wanted.expiresAt > own.expiresAt)) {
    return `a life beyond ${own.expiresAt}`;
  }
  return null;
}

function holdsNetwork(outer: string, inner: string): boolean {
  const [outerBase = '', outerBits = ''] = outer.split('/');
  const [innerBase = '', innerBits = ''] = inner.split('/');
  const family = familyOf(outerBase);
  if (familyOf(innerBase) !== family || Number(innerBits) < Number(outerBits)) return false;
  const list = new BlockList();
  list.addSubnet(outerBase, Number(outerBits), family);
  return list.check(innerBase, family);
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
