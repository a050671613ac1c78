import type { ReadSettings } from '@countersign/database';
import {
  findApplication,
  type GivenFirstFactor,
  type RadiusClientDocument,
  type RadiusTargetDocument,
} from '@countersign/verification';
import { findNamed } from './find-directory.ts';
import { refuse, type Refusal } from './plan.ts';

/** The RADIUS client of that name, whatever the case of its letters, or the refusal that there is none. */
export function clientNamed(all: ReadSettings, name: string): RadiusClientDocument | Refusal {
  const found = findNamed(all.radiusClients, name);
  return found ?? refuse(404, 'unknown_radius_client', `no RADIUS client is called ${name}`);
}

export function targetNamed(all: ReadSettings, name: string): RadiusTargetDocument | Refusal {
  const found = findNamed(all.radiusTargets, name);
  return found ?? refuse(404, 'unknown_radius_target', `no RADIUS target is called ${name}`);
}

/** What stands against a client as it would be: another has its name or one of its networks, or nobody knows its application. */
export function conflictOfClient(
  all: ReadSettings,
  client: Pick<RadiusClientDocument, 'id' | 'name' | 'addresses' | 'application'> & {
    firstFactor: { kind: RadiusClientDocument['firstFactor']['kind'] };
  },
): Refusal | null {
  const others = all.radiusClients.filter(({ id }) => id !== client.id);
  if (findNamed(others, client.name)) {
    const detail = `a RADIUS client called ${client.name} exists already`;
    return refuse(409, 'radius_client_name_taken', detail);
  }
  for (const network of client.addresses) {
    const owner = others.find(({ addresses }) => addresses.includes(network));
    if (owner) return refuse(409, 'radius_address_taken', `${network} is of ${owner.name} already`);
  }
  const application = findApplication(all.applications, client.application);
  if (!application) {
    const detail = `no application is called ${client.application}: add it first`;
    return refuse(404, 'unknown_application', detail);
  }
  const passesStrangers = application.userMatch === 'pass' && client.firstFactor.kind === 'radius';
  return passesStrangers ? userMatchNeedsDirectory(application.name, client.name) : null;
}

/**
 * A directory says which object a name is, so that whoever is a user by another name does not pass as a stranger
 * (security rule 2). A RADIUS target tells nothing but that the password was right.
 */
export function userMatchNeedsDirectory(application: string, client: string): Refusal {
  const detail =
    `${application} passes whoever is no user (userMatch: pass), which takes a directory as first factor: ` +
    `the RADIUS target of ${client} cannot tell by which other names somebody is a user`;
  return refuse(409, 'user_match_needs_directory', detail);
}

/** What is wrong with a client that its schema cannot see. */
export function flawOfClient(client: RadiusClientDocument): Refusal | null {
  const { appendedCode, canChallenge, firstFactor } = client;
  if (!appendedCode) return null;
  if (firstFactor.kind === 'none') {
    const detail = 'appendedCode: no password comes before the code where there is no first factor';
    return refuse(400, 'invalid_radius_client', detail);
  }
  // Security rule 22: a password that ends in digits would be cut, and count as a wrong one.
  if (!canChallenge) return null;
  const detail =
    'appendedCode needs canChallenge=false: where a question can follow, codes are not mandatory';
  return refuse(400, 'invalid_radius_client', detail);
}

/** The first factor by the ids of what it names. */
export function firstFactorOf(
  all: ReadSettings,
  given: GivenFirstFactor,
): { factor: RadiusClientDocument['firstFactor'] } | Refusal {
  if (given.kind === 'none') return { factor: given };
  if (given.kind === 'radius') {
    const target = targetNamed(all, given.target);
    return 'kind' in target ? target : { factor: { kind: 'radius', target: target.id } };
  }
  if (given.directories === null) return { factor: { kind: 'directory', directories: null } };
  const found = new Set<string>();
  for (const name of given.directories) {
    const directory = findNamed(all.directories, name);
    if (!directory) return refuse(404, 'unknown_directory', `no directory is called ${name}`);
    found.add(directory.id);
  }
  return { factor: { kind: 'directory', directories: [...found] } };
}

/** Names of the clients that would be left without what they name; for a refusal. */
export function clientsOf(
  all: ReadSettings,
  isOf: (client: RadiusClientDocument) => boolean,
): string | null {
  const names = all.radiusClients.filter(isOf).map(({ name }) => name);
  if (names.length === 0) return null;
  const [first, ...more] = names;
  return more.length === 0
    ? `the RADIUS client ${first}`
    : `the RADIUS client ${first} and ${more.length} more`;
}

export function radiusTargetNameTaken(name: string): Refusal {
  return refuse(409, 'radius_target_name_taken', `a RADIUS target called ${name} exists already`);
}
