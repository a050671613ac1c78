import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';

const DESCRIPTION = `Verifies people, and manages users, authenticators, settings and the cluster. Any node answers any
request; a change is carried to the master and answered once the node that was asked has applied it.

Send an API key, or a session, as a bearer token; each operation names the scope that it needs. Every POST may carry an
\`Idempotency-Key\`: repeated with the same key it gets the first answer. Whatever is not a success is a
problem (RFC 9457) with a stable \`code\`; \`master_offline\` means that nothing was changed,
\`outcome_unknown\` that a repeat with the same key tells what became of it.`;

const quoted = (scope: string) => `\`${scope}\``;

/** How the server describes itself at /api/v1/openapi.json. */
export function describeApi(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Countersign Web Service SDK', version, description: DESCRIPTION },
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: 'An API key.' },
        },
      },
    },
    transform(input) {
      const { schema, url } = jsonSchemaTransform(input);
      const access = input.route.config?.access;
      if (!access || 'open' in access || 'monitoring' in access)
        return { schema: { ...schema, security: [] }, url };
      const scope =
        'anyScope' in access
          ? 'Needs no scope.'
          : `Needs the scope ${[access.scope].flat().map(quoted).join(' or ')}.`;
      const description = schema.description ? `${schema.description} ${scope}` : scope;
      return { schema: { ...schema, description, security: [{ apiKey: [] }] }, url };
    },
  };
}
