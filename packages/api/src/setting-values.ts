import {
  escapeUntrusted,
  SettingError,
  type SettingChange,
  type SettingValue,
} from '@countersign/verification';
import { z } from 'zod';
import { invalidRequest } from './problem.ts';

const MAX_SETTINGS = 100;

const value = z.union([z.string(), z.number(), z.boolean(), z.array(z.string().max(300)).max(300)]);

/** Settings by dotted name, as docs/settings.md lists them. */
export const settingValues = z.record(z.string(), value);

export const changedSettings = z
  .record(z.string(), value.nullable())
  .describe('By dotted name, like lockout.failures; null takes one back to what it is without.');

/**
 * Checks wished changes one by one, each also where it came as text.
 * @throws ProblemError 400 that names the setting and what it may be
 */
export function parseSettings(
  wished: z.infer<typeof changedSettings>,
  parse: (name: string, value: unknown) => SettingChange,
): Record<string, SettingValue | null> {
  const all = Object.entries(wished);
  if (all.length > MAX_SETTINGS) throw invalidRequest(`there are over ${MAX_SETTINGS} settings`);
  try {
    const changes = all.map(([name, given]) => parse(name, given));
    return Object.fromEntries(changes.map((change) => [change.name, change.value]));
  } catch (error) {
    if (error instanceof SettingError) throw invalidRequest(escapeUntrusted(error.message, 2000));
    throw error;
  }
}
