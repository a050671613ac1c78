import type { Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import type { Rights } from '../authorise.ts';
import type { WrongTries } from '../wrong-tries.ts';
import type { DocumentKind } from '@countersign/verification';

/** What a command comes to: one change, nothing to change, or a refusal. */
export type Plan =
  | {
      kind: 'change';
      document: { kind: DocumentKind; id: string; removed: boolean; content: unknown };
      /** Stored with the change and given again to a repeat; holds no secrets. */
      result: Record<string, unknown>;
      event: PlannedEvent;
    }
  /** `event`: what is told of all the same. */
  | { kind: 'unchanged'; result: Record<string, unknown>; event?: PlannedEvent }
  | Refusal;

export type PlannedEvent = {
  /** Where it is not the command's name. */
  type?: string;
  userId: string | null;
  username: string | null;
  details?: Record<string, unknown>;
};

export type Refusal = { kind: 'refused'; status: number; code: string; detail: string };

/** `new-secret` makes what is shown once, and `authority` opens the CA's key: only agents have them. */
export type CommandKeys = Record<
  'seed' | 'pin' | 'spare-code' | 'new-secret' | 'document' | 'authority',
  PurposeKey
>;

/** What planning may look at: the master's own replica, which has applied every change of what the command touches. */
export type PlanContext = {
  db: Database;
  keys: CommandKeys;
  wrongTries: WrongTries;
  commandId: string;
  actor: string;
  /** What the caller may do. */
  rights: Rights;
  /** Whose session or invitation it is; missing: an API key, or the local socket. */
  administratorId?: string | undefined;
  now: Date;
};

export function refuse(status: number, code: string, detail: string): Refusal {
  return { kind: 'refused', status, code, detail };
}
