import type { ApiServer } from '../api-server.ts';

export function getOpenapi(api: ApiServer): void {
  api.get(
    '/api/v1/openapi.json',
    { config: { access: { monitoring: true } }, schema: { hide: true } },
    async (_request, reply) => reply.type('application/json').send(JSON.stringify(api.swagger())),
  );
}
