import {
  checkNats,
  clientAddresses,
  isOperators,
  OPERATORS_TAG,
  type LogLayout,
} from '@countersign/cluster';

import type { NodeConfig } from './config.ts';
import type { NotedLayout } from './layout-file.ts';
import type { LogAccess } from './log-access.ts';
import { NodeError } from './node-error.ts';

/** The only layout there is at a NATS of the operator's; who fills it, and after what, is as it was noted. */
export function operatorsLayout(
  config: Pick<NodeConfig, 'logServers'>,
  noted: Pick<LogLayout, 'by' | 'disasterAt'> = { by: null, disasterAt: null },
): NotedLayout {
  const { by, disasterAt } = noted;
  const layout = { tag: OPERATORS_TAG, servers: config.logServers, by, disasterAt };
  return { layout, runsLogServer: false, leftTags: [] };
}

/**
 * A log does not move between servers of the nodes and a NATS of the operator's own. Throws NodeError where the
 * configuration says other than where this node's log is.
 */
export function refuseOtherLog(
  { nats, file }: Pick<NodeConfig, 'nats' | 'file'>,
  layout: Pick<LogLayout, 'tag'>,
): void {
  if ((nats !== null) === isOperators(layout)) return;
  const where = nats
    ? `${file.path} has nats.urls, and the log of this cluster is on servers that its nodes run`
    : `${file.path} has no nats.urls, and the log of this cluster is in a NATS of its operator's own`;
  throw new NodeError(
    `${where}: to change that, make a backup and restore it into a new cluster (docs/operating.md)`,
  );
}

/**
 * Looks at the operator's NATS before anything uses it, with the agent's keys and the workers'. False where nobody
 * answers there yet. Throws NatsRefusedError: what is wrong, and where.
 */
export async function checkOperatorsNats(
  config: Pick<NodeConfig, 'name' | 'logServers'>,
  access: LogAccess,
  { isNew = false } = {},
): Promise<boolean> {
  const servers = clientAddresses(config.logServers, config.name);
  const isThere = async (role: 'agent' | 'worker') => {
    const signIn = access[role];
    const { streamsOf } = signIn;
    if (streamsOf === undefined) throw new Error('not the access to a NATS of the operator');
    return checkNats({
      servers,
      signIn: { ...signIn, streamsOf },
      role,
      node: config.name,
      isNew,
    });
  };
  return (await isThere('agent')) && (await isThere('worker'));
}
