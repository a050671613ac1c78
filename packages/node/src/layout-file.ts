import { readFileSync } from 'node:fs';
import { FIRST_LAYOUT_TAG, runsServerOf, type LogLayout } from '@countersign/cluster';
import { z } from 'zod';

import type { NodeConfig } from './config.ts';
import { NodeError } from './node-error.ts';
import { writePrivateFile } from './write-private-file.ts';

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
});

/** Which log servers a node follows, whether its own is one of them, and tags of those it has left. */
export type NotedLayout = { layout: LogLayout; runsLogServer: boolean; leftTags: string[] };

const MAX_LEFT = 64;

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

export function writeLayoutFile(file: string, layout: NotedLayout): void {
  writePrivateFile(file, `${JSON.stringify(layout, null, 2)}\n`);
}

/** The servers a new cluster begins with. */
export function firstLayout(config: NodeConfig): LogLayout {
  return { tag: FIRST_LAYOUT_TAG, servers: config.logServers, by: null, disasterAt: null };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
