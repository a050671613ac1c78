import type { Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import type { DocumentKind } from '@countersign/verification';

/** What a command comes to: one change, nothing to change, or a refusal. */
export type Plan =
  | {
      kind: 'change';
      document: { kind: DocumentKind; id: string; removed: boolean; content: unknown };
      /** Stored with the change and given again to a repeat; holds no secrets. */
      result: Record<string, unknown>;
      event: { userId: string | null; username: string | null; details?: Record<string, unknown> };
    }
  | { kind: 'unchanged'; result: Record<string, unknown> }
  | Refusal;

export type Refusal = { kind: 'refused'; status: number; code: string; detail: string };

/** What planning may look at: the master's own replica, which has applied every change of what the command touches. */
export type PlanContext = {
  db: Database;
  seedKey: PurposeKey;
  commandId: string;
  actor: string;
  now: Date;
};

export function refuse(status: number, code: string, detail: string): Refusal {
  return { kind: 'refused', status, code, detail };
}
