import { basename, dirname, join } from 'node:path';

import type { NodeConfig } from './config.ts';
import { isDemoFolder } from './demo-state.ts';
import { isLoopback } from './url-host.ts';

/** In the folder of the demo, shared by its nodes. */
export const demoOutboxFiles = ['outbox.jsonl', 'outbox.jsonl.1'] as const;

/**
 * Where a node of a demo puts texts and mails instead of sending them; null for any other node. No
 * configuration says so: it follows from the folder that `countersign demo` has made, so a node that
 * is started again by itself is still part of its demo.
 */
export function findDemoOutbox(
  config: Pick<NodeConfig, 'dataDirectory' | 'name'> & { http: { host: string } },
): string | null {
  const demo = dirname(config.dataDirectory);
  const isDemoNode = /^node-[1-5]$/.test(config.name) && isDemoFolder(demo);
  const isAtHome = basename(config.dataDirectory) === config.name && isLoopback(config.http.host);
  return isDemoNode && isAtHome ? join(demo, demoOutboxFiles[0]) : null;
}
