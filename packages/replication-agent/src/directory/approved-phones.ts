import type { UserDocument } from '@countersign/verification';

/** The old number is told at the approval, and has so long to object (security rule 4). */
export const PHONE_HOLD_MS = 24 * 3_600_000;

/** The user with those numbers in force that were approved 24 hours ago; the very same document where there are none. */
export function withApprovedPhones(user: UserDocument, now: Date): UserDocument {
  const link = user.directory;
  const due = (link?.pendingPhones ?? []).filter(
    ({ approved }) => approved && Date.parse(approved.at) + PHONE_HOLD_MS <= now.getTime(),
  );
  if (!link || due.length === 0 || user.removedAt !== undefined) return user;
  const at = now.toISOString();
  const authenticators = user.authenticators.map((phone) => {
    const next = due.find((one) => one.phone === phone.id);
    if (!next || phone.type !== 'phone') return phone;
    const { extension: _old, ...rest } = phone;
    return {
      ...rest,
      number: next.number,
      ...(next.extension !== undefined && { extension: next.extension }),
      vouchedBy: next.approved!.by,
      verifiedAt: null,
      createdAt: at,
    };
  });
  const { pendingPhones = [], ...others } = link;
  const left = pendingPhones.filter((one) => !due.includes(one));
  return {
    ...user,
    authenticators,
    directory: { ...others, ...(left.length > 0 && { pendingPhones: left }) },
    updatedAt: at,
  };
}

/** Numbers that were approved, and the phone they replace, which was not told yet. */
export function untoldNumbers(user: UserDocument): { from: string; to: string }[] {
  return (user.directory?.pendingPhones ?? []).flatMap(({ phone, number, approved }) => {
    const old = user.authenticators.find(({ id }) => id === phone);
    const isUntold = approved && !approved.oldTold && old?.type === 'phone';
    return isUntold ? [{ from: old.number, to: number }] : [];
  });
}

export function withOldTold(user: UserDocument, now: Date): UserDocument {
  const link = user.directory;
  if (!link || untoldNumbers(user).length === 0) return user;
  const pendingPhones = link.pendingPhones!.map((one) =>
    one.approved ? { ...one, approved: { ...one.approved, oldTold: true as const } } : one,
  );
  return { ...user, directory: { ...link, pendingPhones }, updatedAt: now.toISOString() };
}
