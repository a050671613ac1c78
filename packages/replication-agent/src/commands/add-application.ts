import { readSettings } from '@countersign/database';
import {
  APPLICATIONS_MAX,
  applicationDocument,
  applicationName,
  findApplication,
  parseOverride,
  type ApplicationDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { nameTaken } from './find-application.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';
import { refusalOf, settingValues, toldOf } from './set-settings.ts';

export const addApplicationArgs = z.strictObject({
  name: applicationName,
  enabled: z.boolean().default(true),
  userMatch: applicationDocument.shape.userMatch.default('require'),
  settings: settingValues.default({}),
});

export async function addApplication(
  context: PlanContext,
  args: z.output<typeof addApplicationArgs>,
): Promise<Plan> {
  const { name, enabled, userMatch } = args;
  const { applications } = await readSettings(context.db);
  if (findApplication(applications, name)) return nameTaken(name);
  if (applications.size >= APPLICATIONS_MAX) {
    return refuse(409, 'too_many_applications', `there are ${APPLICATIONS_MAX} already`);
  }
  const id = deriveId(context.commandId, 'application');
  const at = context.now.toISOString();
  try {
    const given = Object.entries(args.settings).map(([each, value]) => parseOverride(each, value));
    const own = given.flatMap(({ name: each, value }) => (value === null ? [] : [[each, value]]));
    const content: ApplicationDocument = {
      id,
      name,
      enabled,
      userMatch,
      settings: Object.fromEntries(own),
      createdAt: at,
      updatedAt: at,
    };
    const settings = Object.fromEntries(given.map(toldOf));
    return {
      kind: 'change',
      document: { kind: 'application', id, removed: false, content },
      result: { id },
      event: {
        userId: null,
        username: null,
        details: { application: name, enabled, userMatch, settings },
      },
    };
  } catch (error) {
    return refusalOf(error);
  }
}
