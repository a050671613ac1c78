import type { MailMessage, Sender, TextMessage } from './sender.ts';

/** What the demo's outbox holds. It holds codes: nothing but a demo has one. */
export type OutboxEntry =
  | { kind: 'text'; at: string; id: string; to: string; text: string }
  | { kind: 'mail'; at: string; id: string; to: string; subject: string; text: string };

export interface Outbox {
  texts: Sender<TextMessage>;
  mails: Sender<MailMessage>;
  /** Oldest first. */
  list(): OutboxEntry[];
}

/**
 * Senders that send nowhere: the last `keep` messages stay in memory. `onEntry` gets each one too,
 * to hand it to whoever shows it; must not throw.
 */
export function createOutbox(
  options: { keep?: number; onEntry?: (entry: OutboxEntry) => void } = {},
): Outbox {
  const { keep = 200, onEntry } = options;
  const entries: OutboxEntry[] = [];
  const put = (entry: OutboxEntry) => {
    entries.push(entry);
    if (entries.length > keep) entries.splice(0, entries.length - keep);
    onEntry?.(entry);
    return Promise.resolve({ sent: true as const, provider: 'outbox', providerId: entry.id });
  };
  const at = () => new Date().toISOString();
  return {
    texts: {
      name: 'outbox',
      send: ({ id, to, text }) => put({ kind: 'text', at: at(), id, to, text }),
    },
    mails: {
      name: 'outbox',
      send: ({ id, to, subject, text }) => put({ kind: 'mail', at: at(), id, to, subject, text }),
    },
    list: () => [...entries],
  };
}
