import { escapeUntrusted, parseSetting, SettingError } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';
import { settingsByName, settingValues } from './get-settings.ts';

const MAX_SETTINGS = 100;

export function setSettings(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/settings',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Change settings of one group; the reply shows what this node has applied',
        tags: ['settings'],
        querystring: noQuery,
        body: settingValues,
        response: { 200: z.object({ settings: settingValues, ...writeReply }), ...problemReply },
      },
    },
    async (request) => {
      const changes = Object.fromEntries(
        parseChanges(request.body).map(({ name, value }) => [name, value]),
      );
      const { revision, applied } = await runCommand(ports, request, {
        name: 'settings.set',
        args: { changes },
      });
      const { settings } = await ports.readSettings();
      return { settings: settingsByName(settings), revision, applied };
    },
  );
}

function parseChanges(body: z.infer<typeof settingValues>) {
  const wished = Object.entries(body);
  if (wished.length === 0) throw invalidRequest('body names no setting');
  if (wished.length > MAX_SETTINGS) throw invalidRequest(`body has over ${MAX_SETTINGS} settings`);
  // A group is one document, and one command is one change: all of a request happens or none.
  const groups = new Set(wished.map(([name]) => name.split('.', 1)[0]));
  if (groups.size > 1) throw invalidRequest('settings of different groups need a request each');
  return wished.map(([name, value]) => parseChange(name, String(value)));
}

function parseChange(name: string, text: string) {
  try {
    return parseSetting(name, text);
  } catch (error) {
    if (error instanceof SettingError) throw invalidRequest(escapeUntrusted(error.message));
    throw error;
  }
}
