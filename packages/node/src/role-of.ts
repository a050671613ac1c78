import type { Identity, MemberRole } from '@countersign/identity';

/** As the cluster has let this machine in; null: it is on the list no more. */
export function roleOf({ nodeName, members }: Identity): MemberRole | null {
  return members.members.find(({ name }) => name === nodeName)?.role ?? null;
}
