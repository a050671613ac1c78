import {
  findApplication,
  passesUnchecked,
  RADIUS_SECRET_ADVISED_BYTES,
  radiusClientDocument,
  radiusName,
  radiusTargetDocument,
  usernameKey,
  type RadiusClientDocument,
  type RadiusTargetDocument,
} from '@countersign/verification';
import { z } from 'zod';
import type { ApiPorts, RadiusPorts } from './ports.ts';
import { ProblemError } from './problem.ts';
import type { CommandDone } from './run-command.ts';
import { writeReply } from './schemas.ts';

type Stored = Awaited<ReturnType<ApiPorts['readSettings']>>;

export const radiusParams = z.strictObject({ name: radiusName });

const warnings = z.array(z.string()).describe('What is done but not advised.');

export const radiusClientView = radiusClientDocument
  .omit({ sealedSecret: true, firstFactor: true })
  .extend({
    firstFactor: z.discriminatedUnion('kind', [
      z.object({
        kind: z.literal('directory'),
        directories: z
          .array(z.string())
          .nullable()
          .describe('By name; null: the one that the user is from.'),
      }),
      z.object({ kind: z.literal('none') }),
      z.object({ kind: z.literal('radius'), target: z.string() }),
    ]),
    warnings,
  });
export type RadiusClientView = z.output<typeof radiusClientView>;

export const radiusTargetView = radiusTargetDocument.omit({ sealedSecret: true });
export type RadiusTargetView = z.output<typeof radiusTargetView>;

/** As this node has it after the change; only what is known for certain if it has not applied it yet. */
export const radiusClientWriteReply = radiusClientView
  .partial()
  .extend({ id: z.string(), name: z.string(), ...writeReply, warnings });
export const radiusTargetWriteReply = radiusTargetView
  .partial()
  .extend({ id: z.string(), name: z.string(), ...writeReply, warnings });

/** With names in place of the ids of directories and targets. */
export function viewRadiusClient(client: RadiusClientDocument, all: Stored): RadiusClientView {
  const { sealedSecret: _, firstFactor, ...rest } = client;
  const warned = warningsOfClient(client, all);
  return { ...rest, firstFactor: viewFirstFactor(firstFactor, all), warnings: warned };
}

/** What of it helps attackers, or cannot do what it says. */
function warningsOfClient(client: RadiusClientDocument, { applications }: Stored): string[] {
  const { addresses, application, messageAuthenticator } = client;
  const warned: string[] = [];
  const everywhere = addresses.find((network) => network.endsWith('/0'));
  if (everywhere) {
    warned.push(
      `addresses has ${everywhere}: whoever learns the secret may ask from anywhere; name the networks it is in`,
    );
  }
  if (messageAuthenticator !== 'require') {
    const how = messageAuthenticator === 'observe' ? 'observe: counts and serves' : 'off: serves';
    warned.push(
      `messageAuthenticator ${how} requests without one, and whoever is on the way can turn a refusal of such into an accept (CVE-2024-3596); set it to require as soon as countersign radius watch shows none without`,
    );
  }
  if (passesUnchecked(client, findApplication(applications, application))) {
    warned.push(
      `firstFactor none, and ${application} passes whoever is no user: those get in with nothing checked here, so the client must have checked their password; set the user match to require as soon as all are enrolled`,
    );
  }
  return warned;
}

export function viewRadiusTarget(target: RadiusTargetDocument): RadiusTargetView {
  const { sealedSecret: _, ...rest } = target;
  return rest;
}

/** @throws ProblemError 404 `unknown_radius_client` */
export function findRadiusClient(all: Stored, name: string): RadiusClientDocument {
  const found = findNamed(all.radiusClients, name);
  if (found) return found;
  throw new ProblemError(404, 'unknown_radius_client', 'There is no such RADIUS client.');
}

/** @throws ProblemError 404 `unknown_radius_target` */
export function findRadiusTarget(all: Stored, name: string): RadiusTargetDocument {
  const found = findNamed(all.radiusTargets, name);
  if (found) return found;
  throw new ProblemError(404, 'unknown_radius_target', 'There is no such RADIUS target.');
}

/** @throws ProblemError 409 `no_radius` */
export function radiusFrontOf({ radiusFront }: ApiPorts): RadiusPorts {
  if (radiusFront) return radiusFront;
  const detail =
    'No RADIUS is served at this address: ask a node that has radius in its configuration, over HTTP.';
  throw new ProblemError(409, 'no_radius', detail);
}

type Written = { done: CommandDone; name: string; secret: string | undefined };

export async function replyToRadiusClientWrite(
  ports: ApiPorts,
  { done, name, secret }: Written,
): Promise<z.output<typeof radiusClientWriteReply>> {
  const { revision, applied, result } = done;
  const id = String(result.id);
  // The change is done: that it cannot be read back now must not look like a failure.
  const all = applied ? await ports.readSettings().catch(() => null) : null;
  const found = all?.radiusClients.find((each) => each.id === id);
  const known = all && found ? viewRadiusClient(found, all) : { id, name };
  const warned = 'warnings' in known ? known.warnings : [];
  return { ...known, revision, applied, warnings: [...warningsOf(secret), ...warned] };
}

export async function replyToRadiusTargetWrite(
  ports: ApiPorts,
  { done, name, secret }: Written,
): Promise<z.output<typeof radiusTargetWriteReply>> {
  const { revision, applied, result } = done;
  const id = String(result.id);
  const all = applied ? await ports.readSettings().catch(() => null) : null;
  const found = all?.radiusTargets.find((each) => each.id === id);
  const known = found ? viewRadiusTarget(found) : { id, name };
  return { ...known, revision, applied, warnings: warningsOf(secret) };
}

function warningsOf(secret: string | undefined): string[] {
  if (secret === undefined || Buffer.byteLength(secret) >= RADIUS_SECRET_ADVISED_BYTES) return [];
  const advice = `a secret should have at least ${RADIUS_SECRET_ADVISED_BYTES} characters`;
  return [`${advice}: whoever sees the packets can guess a short one`];
}

function viewFirstFactor(
  factor: RadiusClientDocument['firstFactor'],
  { directories, radiusTargets }: Stored,
): RadiusClientView['firstFactor'] {
  if (factor.kind === 'none') return factor;
  if (factor.kind === 'radius') {
    return { kind: 'radius', target: nameOf(radiusTargets, factor.target) };
  }
  const names = factor.directories?.map((id) => nameOf(directories, id)) ?? null;
  return { kind: 'directory', directories: names };
}

/** Its id, of one that is not there (yet). */
function nameOf(all: readonly { id: string; name: string }[], id: string): string {
  return all.find((each) => each.id === id)?.name ?? id;
}

function findNamed<T extends { name: string }>(all: readonly T[], name: string): T | undefined {
  const key = usernameKey(name);
  return all.find((each) => usernameKey(each.name) === key);
}
