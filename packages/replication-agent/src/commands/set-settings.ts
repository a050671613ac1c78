import { isDeepStrictEqual } from 'node:util';
import { readSettings } from '@countersign/database';
import { changeSetting, SettingError, type SettingsDocument } from '@countersign/verification';
import { z } from 'zod';
import { refuse, type Plan, type PlanContext } from './plan.ts';

/** By dotted name, all of one group: one command is one change. */
export const setSettingsArgs = z.strictObject({
  changes: z.record(
    z.string(),
    z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
  ),
});

export async function setSettings(
  context: PlanContext,
  args: z.output<typeof setSettingsArgs>,
): Promise<Plan> {
  const { settings } = await readSettings(context.db);
  let document: SettingsDocument | null = null;
  let current = settings;
  for (const [name, value] of Object.entries(args.changes)) {
    let changed: SettingsDocument;
    try {
      changed = changeSetting(current, { name, value });
    } catch (error) {
      if (error instanceof SettingError) return refuse(400, 'invalid_setting', error.message);
      throw error;
    }
    if (document && document.id !== changed.id) {
      return refuse(400, 'one_group', 'settings of one group can be changed at a time');
    }
    const { id, ...fields } = changed;
    document = changed;
    current = { ...current, [id]: fields };
  }
  if (!document) return refuse(400, 'invalid_request', 'no setting given');
  if (isDeepStrictEqual(current, settings)) return { kind: 'unchanged', result: {} };
  return {
    kind: 'change',
    document: { kind: 'settings', id: document.id, removed: false, content: document },
    result: {},
    event: { userId: null, username: null, details: { ...args.changes } },
  };
}
