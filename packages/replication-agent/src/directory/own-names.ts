import type { Person } from '@countersign/directory';
import { usernameKey } from '@countersign/verification';

/**
 * The person without names that end or begin with a domain of another directory: whoever writes them there could
 * otherwise sign in under the name of somebody here (security rule 5).
 */
export function withOwnNames(
  person: Person,
  { own, foreign }: { own: readonly string[]; foreign: readonly string[] },
): Person {
  const ours = new Set(own.map(usernameKey));
  const others = new Set(foreign.map(usernameKey).filter((domain) => !ours.has(domain)));
  if (others.size === 0) return person;
  const isOwn = (name: string) => {
    const key = usernameKey(name);
    const before = key.slice(0, Math.max(0, key.indexOf('\\')));
    const behind = key.slice(key.lastIndexOf('@') + 1);
    return !others.has(before) && !(key.includes('@') && others.has(behind));
  };
  const { usernames, names, mails } = person;
  return {
    ...person,
    usernames: usernames.filter(isOwn),
    names: names.filter(isOwn),
    mails: mails.filter(isOwn),
  };
}
