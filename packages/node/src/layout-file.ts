import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FIRST_LAYOUT_TAG, runsServerOf, type LogLayout } from '@countersign/cluster';
import { writePrivateFile } from '@countersign/private-files';
import { z } from 'zod';

import type { NodeConfig } from './config.ts';
import { NodeError } from './node-error.ts';
import { parseJson } from './parse-json.ts';

const noted = z.strictObject({
  layout: z.strictObject({
    tag: z.string().regex(/^[0-9a-z]{1,32}$/),
    servers: z
      .array(
        z.strictObject({
          name: z.string(),
          host: z.string(),
          clientPort: z.int(),
          routePort: z.int(),
          isWitness: z.literal(true).exactOptional(),
        }),
      )
      .min(1)
      .max(5),
    by: z.string().nullable(),
    disasterAt: z.string().nullable(),
    after: z.string().exactOptional(),
  }),
  runsLogServer: z.boolean(),
  leftTags: z.array(z.string()).default([]),
  /** What a witness has heard of the layout's log; nodes know that themselves. */
  incarnation: z.int().min(0).exactOptional(),
});

/** Which log servers a node follows, whether its own is one of them, and tags of those it has left. */
export type NotedLayout = {
  layout: LogLayout;
  runsLogServer: boolean;
  leftTags: string[];
  incarnation?: number;
};

const MAX_LEFT = 64;

export const layoutFileIn = (dataDirectory: string) => join(dataDirectory, 'log-layout.json');

/** What to note when the node goes on in another layout. */
export function noteMove(noted: NotedLayout, layout: LogLayout, node: string): NotedLayout {
  const leftTags = [...new Set([...noted.leftTags, noted.layout.tag])].slice(-MAX_LEFT);
  return { layout, runsLogServer: runsServerOf(layout, node, leftTags), leftTags };
}

/** What the node noted last; null before its first start. Throws NodeError for a damaged file. */
export function readLayoutFile(file: string): NotedLayout | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const parsed = noted.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new NodeError(
    `${file} is damaged: remove it with the node's whole data folder, or restore it`,
  );
}

/** What another node told. Throws NodeError. */
export function parseNotedLayout(value: unknown): NotedLayout {
  const parsed = noted.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new NodeError('the log servers that were told are not understood');
}

export function writeLayoutFile(file: string, layout: NotedLayout): void {
  writePrivateFile(file, `${JSON.stringify(layout, null, 2)}\n`);
}

/** The servers a new cluster begins with. Throws NodeError for an even number. */
export function firstLayout(config: NodeConfig): LogLayout {
  const count = config.logServers.length;
  if (count % 2 === 0) {
    throw new NodeError(
      `logServers: a cluster begins with 1, 3 or 5 servers: ${count} are no safer than one fewer`,
    );
  }
  return { tag: FIRST_LAYOUT_TAG, servers: config.logServers, by: null, disasterAt: null };
}
