import {
  applicationName,
  findApplication,
  type ApplicationDocument,
} from '@countersign/verification';
import { z } from 'zod';
import type { ApiPorts } from './ports.ts';
import { ProblemError } from './problem.ts';
import type { CommandDone } from './run-command.ts';
import { timestamp, writeReply } from './schemas.ts';
import { changedSettings, settingValues } from './setting-values.ts';

export const applicationParams = z.strictObject({ name: applicationName });

/** What may be set of an application besides its name. */
export const applicationFields = {
  enabled: z.boolean().optional().describe('false: every verification is denied.'),
  userMatch: z
    .enum(['require', 'pass'])
    .optional()
    .describe('Whether somebody who is no user here is denied, or passes by the first factor.'),
  settings: changedSettings.optional(),
};

export const applicationView = z.object({
  id: z.string(),
  name: z.string(),
  enabled: z.boolean(),
  userMatch: z.enum(['require', 'pass']),
  settings: settingValues.describe("Only those that differ from the company's."),
  createdAt: timestamp,
  updatedAt: timestamp,
});

/** The application as this node has it after the change; only what is known for certain if it has not applied it yet. */
export const applicationWriteReply = applicationView
  .partial()
  .extend({ id: z.string(), name: z.string(), ...writeReply });

export function viewApplication(
  application: ApplicationDocument,
): z.output<typeof applicationView> {
  const { id, name, enabled, userMatch, settings, createdAt, updatedAt } = application;
  return { id, name, enabled, userMatch, settings, createdAt, updatedAt };
}

/** @throws ProblemError 404 `unknown_application` */
export async function findOneApplication(
  ports: ApiPorts,
  name: string,
): Promise<ApplicationDocument> {
  const { applications } = await ports.readSettings();
  const found = findApplication(applications, name);
  if (found) return found;
  throw new ProblemError(404, 'unknown_application', 'There is no such application.');
}

export async function replyToApplicationWrite(
  ports: ApiPorts,
  { revision, applied, result }: CommandDone,
  name: string,
): Promise<z.output<typeof applicationWriteReply>> {
  const id = String(result.id);
  // The change is done: that it cannot be read back now must not look like a failure.
  const found = applied ? await findOneApplication(ports, name).catch(() => null) : null;
  if (found?.id !== id) return { id, name, revision, applied };
  return { ...viewApplication(found), revision, applied };
}
