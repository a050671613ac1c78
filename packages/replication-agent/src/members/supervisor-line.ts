import type { MemberList } from '@countersign/identity';

/** What an agent tells its supervisor of who belongs to the cluster. */
export type MemberMessage =
  /** Who may connect to the log servers. */
  | { type: 'members'; list: MemberList }
  /** A renewed certificate of this node. */
  | { type: 'certificate'; certificatePem: string }
  /** The CA stands in the log: what `init` kept of it may go. */
  | { type: 'founded' }
  | { type: 'wrap-cluster-key'; id: string; certificatePem: string; list: MemberList };

/** To `wrap-cluster-key`. */
export type WrappedKeyMessage = { type: 'wrapped-cluster-key'; id: string; wrapped: string | null };
