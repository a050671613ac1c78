import {
  AUTHENTICATORS_MAX,
  PHONES_MAX,
  type DirectoryDocument,
  type DirectoryLink,
  type PhoneAuthenticator,
  type UserDocument,
} from '@countersign/verification';
import { deriveId } from '../commands/derive-id.ts';
import type { Merge } from './merge-person.ts';

type Use = PhoneAuthenticator['use'];
type Number = { number: string; extension: string | null };
type PendingPhone = NonNullable<DirectoryLink['pendingPhones']>[number];

const USES: readonly Use[] = ['primary', 'backup'];

/** Which phone of a user is the directory's, of each use: it stays the same whatever its number becomes. */
export function phoneIdOf(directory: Pick<DirectoryDocument, 'id'>, object: string, use: Use) {
  return deriveId(`${directory.id}|${object}`, `phone ${use}`);
}

/**
 * The user with the directory's phones: one of each use, the first that the person has in the order of the item. A
 * phone that has verified keeps its number, and another one waits beside it (security rule 4).
 */
export function mergePhones(user: UserDocument, merge: Merge, isNew: boolean): UserDocument {
  const { treatment, directory, person } = merge;
  const policy = treatment.update.phones;
  const wanted = policy === 'always' || (policy === 'import' && isNew) ? wantedOf(merge) : null;
  let { authenticators } = user;
  const pending: PendingPhone[] = [];
  for (const use of USES) {
    const id = phoneIdOf(directory, person.object, use);
    const phone = authenticators.find((one): one is PhoneAuthenticator => one.id === id);
    const others = authenticators.filter((one) => one.id !== id);
    const found = wanted?.[use] ?? null;
    const isKnown = others.some((one) => one.type === 'phone' && isSame(one, found));
    const number = isKnown ? null : found;
    if (wanted === null) {
      const waiting = user.directory?.pendingPhones?.find((one) => one.phone === id);
      if (waiting && phone) pending.push(waiting);
    } else if (phone?.verifiedAt) {
      if (number && !isSame(phone, number)) pending.push(pendingOf(user, id, number, merge));
    } else {
      authenticators = withPhone(authenticators, { id, use, phone, number }, merge, isNew);
    }
  }
  const { pendingPhones: _, ...link } = user.directory!;
  const isLeft = merge.isHeld && hasAnotherPhone(user, { authenticators });
  return {
    ...user,
    authenticators: isLeft ? user.authenticators : authenticators,
    directory: { ...link, ...(pending.length > 0 && { pendingPhones: pending }) },
  };
}

type WithAuthenticators = Pick<UserDocument, 'authenticators'>;

/**
 * Whether a number is gone that somebody vouched for, or that has verified, or there is such a number more beside what
 * the user had: whoever writes their own may clear it first, or write another attribute.
 */
export function hasAnotherPhone(before: WithAuthenticators, after: WithAuthenticators): boolean {
  const [had, has] = [numbersOf(before), numbersOf(after)];
  if (had.trusted.some((number) => !has.all.has(number))) return true;
  return before.authenticators.length > 0 && has.trusted.some((number) => !had.all.has(number));
}

function numbersOf({ authenticators }: WithAuthenticators) {
  const phones = authenticators.filter((one) => one.type === 'phone');
  const trusted = phones.filter((one) => one.vouchedBy !== null || one.verifiedAt !== null);
  const numberOf = ({ number }: PhoneAuthenticator) => number;
  return { all: new Set(phones.map(numberOf)), trusted: trusted.map(numberOf) };
}

function wantedOf({ treatment, person }: Merge): Record<Use, Number | null> {
  const numbersFor = (use: Use) =>
    treatment.phones
      .filter((each) => each.use === use)
      .flatMap(({ kind }) => person.phones[kind] ?? []);
  const primary = numbersFor('primary')[0] ?? null;
  const backup = numbersFor('backup').find((number) => !primary || !isEqual(number, primary));
  return { primary, backup: backup ?? null };
}

function withPhone(
  authenticators: UserDocument['authenticators'],
  {
    id,
    use,
    phone,
    number,
  }: {
    id: string;
    use: Use;
    phone: PhoneAuthenticator | undefined;
    number: Number | null;
  },
  { treatment, now }: Merge,
  isNew: boolean,
): UserDocument['authenticators'] {
  const others = authenticators.filter((one) => one.id !== id);
  if (!number) return phone ? others : authenticators;
  const { vouchForPhones: vouches, name } = treatment;
  const isVouched = vouches === 'always' || (vouches === 'import' && isNew);
  const vouchedBy = isVouched ? `sync item ${name}` : null;
  if (phone && isSame(phone, number)) {
    if (phone.vouchedBy !== null || vouchedBy === null) return authenticators;
    return authenticators.map((one) => (one === phone ? { ...phone, vouchedBy } : one));
  }
  const added: PhoneAuthenticator = {
    type: 'phone',
    id,
    number: number.number,
    ...(number.extension !== null && { extension: number.extension }),
    use,
    vouchedBy,
    verifiedAt: null,
    createdAt: now.toISOString(),
  };
  if (phone) return authenticators.map((one) => (one === phone ? added : one));
  const phones = others.filter(({ type }) => type === 'phone').length;
  const hasRoom = phones < PHONES_MAX && others.length < AUTHENTICATORS_MAX;
  return hasRoom ? [...others, added] : authenticators;
}

function pendingOf(
  user: UserDocument,
  phone: string,
  { number, extension }: Number,
  { now }: Merge,
): PendingPhone {
  const known = user.directory?.pendingPhones?.find((one) => one.phone === phone);
  if (known && isSame(known, { number, extension })) return known;
  const seenAt = now.toISOString();
  return { phone, number, ...(extension !== null && { extension }), seenAt };
}

function isSame(phone: { number: string; extension?: string | undefined }, number: Number | null) {
  return number !== null && isEqual({ ...phone, extension: phone.extension ?? null }, number);
}

function isEqual(a: Number, b: Number): boolean {
  return a.number === b.number && a.extension === b.extension;
}
