import { parseSetting } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';
import { changedSettings, parseSettings, settingValues } from '../setting-values.ts';
import { settingsByName } from './get-settings.ts';

export function setSettings(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/settings',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Change settings of one group; the reply shows what this node has applied',
        description:
          'Where a setting says where a secret is sent, the same request has to give the secret again: otherwise the reply is 400 `secret_required`.',
        tags: ['settings'],
        querystring: noQuery,
        body: changedSettings,
        response: { 200: z.object({ settings: settingValues, ...writeReply }), ...problemReply },
      },
    },
    async (request) => {
      const names = Object.keys(request.body);
      if (names.length === 0) throw invalidRequest('body names no setting');
      // A group is one document, and one command is one change: all of a request happens or none.
      if (new Set(names.map((name) => name.split('.', 1)[0])).size > 1) {
        throw invalidRequest('settings of different groups need a request each');
      }
      const changes = parseSettings(request.body, parseSetting);
      const { revision, applied } = await runCommand(ports, request, {
        name: 'settings.set',
        args: { changes },
      });
      const { settings } = await ports.readSettings();
      return { settings: settingsByName(settings), revision, applied };
    },
  );
}
