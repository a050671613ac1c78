import { isDeepStrictEqual } from 'node:util';
import { listDirectories } from '@countersign/database';
import {
  flawOfDirectory,
  mergeDirectory,
  openDirectoryPassword,
  passwordContext,
  sealDirectoryPassword,
} from '@countersign/operations';
import { KeyError } from '@countersign/keys';
import {
  directoryFields,
  directoryName,
  type DirectoryDocument,
  type DirectoryFields,
} from '@countersign/verification';
import { z } from 'zod';
import { directoryNameTaken, directoryOf, findNamed } from './find-directory.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const setDirectoryArgs = z.strictObject({
  name: z.string().max(64),
  changes: directoryFields.extend({ name: directoryName.optional() }),
});

export async function setDirectory(
  context: PlanContext,
  { name, changes }: z.output<typeof setDirectoryArgs>,
): Promise<Plan> {
  const before = await directoryOf(context, name);
  if ('kind' in before) return before;
  const newName = changes.name ?? before.name;
  const namesake = findNamed(await listDirectories(context.db), newName);
  if (namesake && namesake.id !== before.id) return directoryNameTaken(newName);
  const merged = mergeDirectory(before, changes);
  const flaw = flawOfDirectory(merged);
  if (flaw !== null) return refuse(400, 'invalid_directory', flaw);
  const account = accountOf(context, { before, merged, password: changes.account?.password });
  if (account && 'kind' in account) return account;
  const after = { ...merged, account };
  const { id } = before;
  if (isDeepStrictEqual(after, before)) return { kind: 'unchanged', result: { id } };
  const content = { ...after, updatedAt: context.now.toISOString() };
  return {
    kind: 'change',
    document: { kind: 'directory', id, removed: false, content },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: { directory: before.name, ...toldOfDirectory(before, after, changes) },
    },
  };
}

/** A password is kept only for the place it was given for: elsewhere it has to be given again (security rule 25). */
function accountOf(
  context: PlanContext,
  { before, merged, password }: Merging,
): DirectoryDocument['account'] | Refusal {
  if (merged.account === null) return null;
  const isMoved = passwordContext(before) !== passwordContext(merged);
  if (password === undefined) {
    if (before.account === null || isMoved) return secretRequired('once more');
    return before.account;
  }
  const { name } = merged.account;
  if (!isMoved && before.account && isSame(context, before, password)) return before.account;
  return { name, sealedPassword: sealDirectoryPassword(context.keys.seed, merged, password) };
}

type Merging = {
  before: DirectoryDocument;
  merged: DirectoryDocument;
  password: string | undefined;
};

/** Every sealing looks different. */
function isSame(context: PlanContext, before: DirectoryDocument, password: string): boolean {
  try {
    return openDirectoryPassword(context.keys.seed, before) === password;
  } catch (error) {
    if (error instanceof KeyError) return false;
    throw error;
  }
}

export function secretRequired(which: string): Refusal {
  const why = 'it would go to other servers, to another account or under other trust';
  const detail = `give the password ${which} (account.password)`;
  return refuse(400, 'secret_required', which === 'once more' ? `${detail}: ${why}` : detail);
}

const GROUPS = ['certificates', 'filters', 'attributes', 'sync'] as const;

/** What changed, by the names of the settings; of a password only that it was set, of certificates that they differ. */
function toldOfDirectory(
  before: DirectoryDocument,
  after: DirectoryDocument,
  { account }: DirectoryFields,
): Record<string, unknown> {
  const { account: was, certificates, filters, attributes, sync, ...plain } = before;
  const told: [string, unknown][] = Object.keys(plain)
    .filter((key) => key !== 'items')
    .map((key) => [key, after[key as keyof typeof plain]] as [string, unknown])
    .filter(([key, value]) => !isDeepStrictEqual(value, before[key as keyof typeof plain]));
  const groups = { certificates, filters, attributes, sync };
  for (const group of GROUPS) {
    for (const [key, value] of Object.entries(after[group])) {
      const old = (groups[group] as Record<string, unknown>)[key];
      if (isDeepStrictEqual(value, old)) continue;
      told.push([`${group}.${key}`, key === 'authorities' && value !== null ? 'set' : value]);
    }
  }
  if (was?.name !== after.account?.name) told.push(['account', after.account?.name ?? 'anonymous']);
  if (account?.password !== undefined) told.push(['account.password', 'set']);
  return Object.fromEntries(told);
}
