import { listSettings } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

export const settingValues = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.string().max(100)).max(200)]),
);

export function getSettings(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/settings',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All settings in force by dotted name',
        tags: ['settings'],
        querystring: noQuery,
        response: {
          200: z.object({ settings: settingValues, revision: z.int() }),
          ...problemReply,
        },
      },
    },
    async () => {
      const { settings, revision } = await ports.readSettings();
      return { settings: settingsByName(settings), revision };
    },
  );
}

export function settingsByName(settings: Parameters<typeof listSettings>[0]) {
  return Object.fromEntries(listSettings(settings).map(({ name, value }) => [name, value]));
}
