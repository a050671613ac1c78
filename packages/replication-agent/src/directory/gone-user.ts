import { usernameKey, type SyncItem, type UserDocument } from '@countersign/verification';

export type OnRemoval = SyncItem['onRemoval'];

/**
 * What becomes of a user whose object is gone, or who is in no item any more: the item that it came by says so. Users
 * imported by hand, and those of an item that is gone too, are disabled.
 */
export function onRemovalOf(user: UserDocument, items: readonly SyncItem[]): OnRemoval {
  const item = items.find(({ id }) => id === user.directory?.item);
  return item?.onRemoval ?? 'disable';
}

/** The user as it is once it is gone from the directory; the very same where that is so already. */
export function goneUser(user: UserDocument, onRemoval: OnRemoval, now: Date): UserDocument {
  const link = user.directory;
  if (!link || user.removedAt !== undefined) return user;
  const disables = onRemoval === 'disable' && user.enabled;
  const removes = onRemoval === 'remove';
  if (link.goneAt !== undefined && !disables && !removes) return user;
  const at = now.toISOString();
  const { pendingPhones: _nobodys, ...rest } = link;
  return {
    ...user,
    ...(disables && { enabled: false }),
    ...(removes && { removedAt: at }),
    directory: {
      ...rest,
      goneAt: link.goneAt ?? at,
      ...(disables && { isDisabledBySync: true as const }),
    },
    updatedAt: at,
  };
}

/** Whether somebody else of the directory may have the name of this user. */
export function releasesName(user: UserDocument, directoryId: string, object: string): boolean {
  const { directory } = user;
  return (
    directory?.id === directoryId && directory.object !== object && directory.goneAt !== undefined
  );
}

/** The user under a name that nobody asks for, so that a new account can have its old ones (security rule 5). */
export function withReleasedName(user: UserDocument, now: Date): UserDocument {
  const directory = { ...user.directory!, names: [], mails: [] };
  return { ...user, username: keptName(user), directory, updatedAt: now.toISOString() };
}

/** At most 256 bytes, also as a key. */
export function keptName({ username, directory }: UserDocument): string {
  const suffix = ` (kept, ${directory!.object.slice(0, 8)})`;
  let kept = Array.from(username);
  const fits = (text: string) =>
    Buffer.byteLength(text, 'utf8') <= 256 && Buffer.byteLength(usernameKey(text), 'utf8') <= 256;
  while (!fits(kept.join('') + suffix)) kept = kept.slice(0, -1);
  return kept.join('').trimEnd() + suffix;
}
