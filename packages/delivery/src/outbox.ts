import { appendFile, readFile, rename, stat } from 'node:fs/promises';

import type { MailMessage, Sender, SendResult, TextMessage } from './sender.ts';

/** What the demo's outbox holds. It holds codes: nothing but a demo has one. */
export interface OutboxEntry {
  kind: 'text' | 'mail';
  at: string;
  id: string;
  to: string;
  /** Of a mail. */
  subject: string | null;
  text: string;
}

export interface Outbox {
  texts: Sender<TextMessage>;
  mails: Sender<MailMessage>;
  /** Oldest first, at most the last 200. */
  list(): Promise<OutboxEntry[]>;
}

const shownEntries = 200;
const rotateAtBytes = 1024 * 1024;

/**
 * Senders that send nowhere: each message becomes a line of a file that all processes of a demo
 * share. From 1 MiB on it makes room for a new one and replaces the one before, `FILE.1`.
 */
export function createOutbox(file: string): Outbox {
  const put = async (entry: OutboxEntry): Promise<SendResult> => {
    try {
      const size = await stat(file).then(
        (found) => found.size,
        () => 0,
      );
      // Another process may just have done it.
      if (size > rotateAtBytes) await rename(file, earlier(file)).catch(() => undefined);
      // One write to the end of the file: lines of several processes do not mix.
      await appendFile(file, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
      return { sent: true, provider: 'outbox', providerId: entry.id };
    } catch (error) {
      const reason = `the outbox cannot be written (${(error as NodeJS.ErrnoException).code})`;
      return { sent: false, provider: 'outbox', outcome: 'failed', reason };
    }
  };
  const at = () => new Date().toISOString();
  return {
    texts: {
      name: 'outbox',
      send: ({ id, to, text }) => put({ kind: 'text', at: at(), id, to, subject: null, text }),
    },
    mails: {
      name: 'outbox',
      send: ({ id, to, subject, text }) => put({ kind: 'mail', at: at(), id, to, subject, text }),
    },
    list: async () => {
      const lines = (await Promise.all([earlier(file), file].map(readLines))).flat();
      return lines.slice(-shownEntries).flatMap(parseEntry);
    },
  };
}

const earlier = (file: string) => `${file}.1`;

async function readLines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

/** A line that was cut short, by a full disk, is left out. */
function parseEntry(line: string): OutboxEntry[] {
  try {
    return [JSON.parse(line) as OutboxEntry];
  } catch {
    return [];
  }
}
