import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, StoredApiKey } from '../ports.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

/** Never with the hash of the secret. */
const apiKeyView = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  applications: z.array(z.string()).nullable(),
  networks: z.array(z.string()).nullable(),
  expiresAt: timestamp.nullable(),
  createdAt: timestamp,
  /** Revoked without a master: no node that knows takes it any more. */
  revoked: z.boolean(),
  revision: z.int(),
});

export function listApiKeys(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/api-keys',
    {
      config: { access: { scope: 'api-keys:write' } },
      schema: {
        summary: 'All API keys, without their secrets',
        tags: ['API keys'],
        querystring: noQuery,
        response: { 200: z.object({ apiKeys: z.array(apiKeyView) }), ...problemReply },
      },
    },
    async () => ({ apiKeys: (await ports.listApiKeys()).map(viewApiKey) }),
  );
}

function viewApiKey({ document, revision, isRevoked }: StoredApiKey): z.output<typeof apiKeyView> {
  const { id, name, scopes, applications, networks, expiresAt, createdAt } = document;
  return {
    id,
    name,
    scopes,
    applications,
    networks,
    expiresAt,
    createdAt,
    revoked: isRevoked,
    revision,
  };
}
