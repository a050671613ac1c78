import { readSettings } from '@countersign/database';
import { findApplication, usernameKey, type ApplicationDocument } from '@countersign/verification';
import { clientsOf } from './find-radius.ts';
import { refuse, type PlanContext, type Refusal } from './plan.ts';

/** The application of that name, or the refusal that there is none. */
export async function applicationOf(
  context: PlanContext,
  name: string,
): Promise<ApplicationDocument | Refusal> {
  const { applications } = await readSettings(context.db);
  const found = findApplication(applications, name.slice(0, 512));
  return found ?? refuse(404, 'unknown_application', `no application is called ${name}`);
}

/** RADIUS clients name their application: under another name it would be another one, with other settings. */
export async function applicationInUse(
  context: PlanContext,
  { name }: ApplicationDocument,
): Promise<Refusal | null> {
  const all = await readSettings(context.db);
  const users = clientsOf(all, ({ application }) => usernameKey(application) === usernameKey(name));
  if (users === null) return null;
  const detail = `${name} is the application of ${users}: give that another one first`;
  return refuse(409, 'application_in_use', detail);
}

export function isRefused(value: ApplicationDocument | Refusal): value is Refusal {
  return 'kind' in value;
}

export function nameTaken(name: string): Refusal {
  return refuse(409, 'application_name_taken', `an application called ${name} exists already`);
}
