import { readSettings } from '@countersign/database';
import { findApplication, type ApplicationDocument } from '@countersign/verification';
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

export function isRefused(value: ApplicationDocument | Refusal): value is Refusal {
  return 'kind' in value;
}

export function nameTaken(name: string): Refusal {
  return refuse(409, 'application_name_taken', `an application called ${name} exists already`);
}
