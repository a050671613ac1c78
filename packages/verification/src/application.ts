import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { parseSetting } from './change-settings.ts';
import { id, instant } from './document-fields.ts';
import type { SettingValue } from './setting.ts';
import { applicationName } from './settings-schema.ts';
import { isOverridable, SettingError } from './settings.ts';

const overrides = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]))
  .superRefine((settings, context) => {
    for (const [name, value] of Object.entries(settings)) {
      const problem = problemOf(name, value);
      if (problem) context.addIssue({ code: 'custom', path: [name], message: problem });
    }
  });

/** Who asks for verifications: a RADIUS client, an LDAP client, an API client, a web site. */
export const applicationDocument = z.strictObject({
  id,
  /** No other application has it, whatever the case of its letters. */
  name: applicationName,
  /** Every verification of one that is not is denied. */
  enabled: z.boolean(),
  /** Whether somebody who is no user here is denied, or passes with the first factor alone. */
  userMatch: z.enum(['require', 'pass']),
  /** What differs from the company's settings, by dotted name. */
  settings: overrides,
  createdAt: instant,
  updatedAt: instant,
});
export type ApplicationDocument = z.infer<typeof applicationDocument>;

function problemOf(name: string, value: SettingValue): string | null {
  if (!isOverridable(name)) return 'applications have no value of their own for it';
  try {
    // As text it would be taken at a prompt; a document holds it as what it is.
    const isPlain = isDeepStrictEqual(parseSetting(name, value).value, value);
    return isPlain ? null : 'is not in the form of its type';
  } catch (error) {
    if (error instanceof SettingError) return error.message;
    throw error;
  }
}
