import { isDeepStrictEqual } from 'node:util';
import { readSettings } from '@countersign/database';
import { checkTextProviders, sealerOfSettings } from '@countersign/operations';
import {
  changeSettings,
  findSetting,
  parseSetting,
  SecretRequiredError,
  SettingError,
  settingsFrom,
  type SettingChange,
} from '@countersign/verification';
import { z } from 'zod';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

const SETTINGS_MAX = 100;

const settingValue = z.union([z.string(), z.number(), z.boolean(), z.array(z.string()), z.null()]);

/** By dotted name; null takes one back to what it is without. */
export const settingValues = z
  .record(z.string(), settingValue)
  .refine((all) => Object.keys(all).length <= SETTINGS_MAX, `at most ${SETTINGS_MAX} settings`);

/** All of one group: one command is one change. */
export const setSettingsArgs = z.strictObject({ changes: settingValues });

export async function setSettings(
  context: PlanContext,
  args: z.output<typeof setSettingsArgs>,
): Promise<Plan> {
  const names = Object.keys(args.changes);
  if (names.length === 0) return refuse(400, 'invalid_request', 'no setting given');
  if (new Set(names.map((name) => name.split('.', 1)[0])).size > 1) {
    return refuse(400, 'one_group', 'settings of one group can be changed at a time');
  }
  const { settings } = await readSettings(context.db);
  try {
    const changes = Object.entries(args.changes).map(([name, value]) => parseSetting(name, value));
    checkProviders(changes);
    const document = changeSettings(settings, changes, sealerOfSettings(context.keys.seed));
    const after = settingsFrom([document]);
    if (isDeepStrictEqual(after[document.id], settings[document.id])) {
      return { kind: 'unchanged', result: {} };
    }
    return {
      kind: 'change',
      document: { kind: 'settings', id: document.id, removed: false, content: document },
      result: {},
      event: { userId: null, username: null, details: Object.fromEntries(changes.map(toldOf)) },
    };
  } catch (error) {
    return refusalOf(error);
  }
}

function checkProviders(changes: readonly SettingChange[]): void {
  for (const { name, value } of changes) {
    if (name !== 'text.providers' || typeof value !== 'string') continue;
    const problem = checkTextProviders(value);
    if (problem !== null) throw new SettingError(`${name}: ${problem}`);
  }
}

/** The refusal that a wrong setting comes to; throws whatever is something else. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof SecretRequiredError) return refuse(400, 'secret_required', error.message);
  if (error instanceof SettingError) return refuse(400, 'invalid_setting', error.message);
  throw error;
}

/** As events tell it: `default` for what was taken back, and of a secret only that it was set. */
export function toldOf({ name, value }: SettingChange): [string, unknown] {
  if (value === null) return [name, 'default'];
  return [name, findSetting(name).secret ? 'set' : value];
}
