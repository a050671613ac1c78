import { isDeepStrictEqual } from 'node:util';
import { readSettings } from '@countersign/database';
import {
  applicationDocument,
  applicationName,
  findApplication,
  parseOverride,
  usernameKey,
  type ApplicationDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { applicationInUse, applicationOf, isRefused, nameTaken } from './find-application.ts';
import { userMatchNeedsDirectory } from './find-radius.ts';
import type { Plan, PlanContext } from './plan.ts';
import { refusalOf, settingValues, toldOf } from './set-settings.ts';

export const setApplicationArgs = z.strictObject({
  name: z.string(),
  changes: z.strictObject({
    name: applicationName.optional(),
    enabled: z.boolean().optional(),
    userMatch: applicationDocument.shape.userMatch.optional(),
    /** null takes a setting back to the company's. */
    settings: settingValues.default({}),
  }),
});

export async function setApplication(
  context: PlanContext,
  args: z.output<typeof setApplicationArgs>,
): Promise<Plan> {
  const application = await applicationOf(context, args.name);
  if (isRefused(application)) return application;
  const { settings, name = application.name, ...rest } = args.changes;
  const all = await readSettings(context.db);
  const { applications } = all;
  const namesake = findApplication(applications, name);
  if (namesake && namesake.id !== application.id) return nameTaken(name);
  if (usernameKey(name) !== usernameKey(application.name)) {
    const inUse = await applicationInUse(context, application);
    if (inUse) return inUse;
  }
  if (rest.userMatch === 'pass') {
    const client = all.radiusClients.find(
      (each) =>
        each.firstFactor.kind === 'radius' &&
        usernameKey(each.application) === usernameKey(application.name),
    );
    if (client) return userMatchNeedsDirectory(application.name, client.name);
  }
  try {
    const given = Object.entries(settings).map(([each, value]) => parseOverride(each, value));
    const own = Object.entries({
      ...application.settings,
      ...Object.fromEntries(given.map((each) => [each.name, each.value])),
    }).filter(([, value]) => value !== null);
    const edited = {
      ...application,
      ...rest,
      name,
      settings: Object.fromEntries(own),
    } as ApplicationDocument;
    const { id } = application;
    if (isDeepStrictEqual(edited, application)) return { kind: 'unchanged', result: { id } };
    return {
      kind: 'change',
      document: {
        kind: 'application',
        id,
        removed: false,
        content: { ...edited, updatedAt: context.now.toISOString() },
      },
      result: { id },
      event: {
        userId: null,
        username: null,
        details: {
          application: application.name,
          ...rest,
          ...(name !== application.name && { name }),
          settings: Object.fromEntries(given.map(toldOf)),
        },
      },
    };
  } catch (error) {
    return refusalOf(error);
  }
}
