import { listSettings } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';
import { settingValues } from '../setting-values.ts';

export function getSettings(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/settings',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All settings in force by dotted name; of secrets only whether they are set',
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
