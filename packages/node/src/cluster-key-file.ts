import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { createClusterKeyFile, readClusterKey, type ClusterKey } from '@countersign/keys';

import { ownLogServer, type NodeConfig } from './config.ts';
import { NodeError } from './node-error.ts';

/**
 * The cluster's key. It is made only by a node that begins a cluster: one that is alone, or told to
 * found it, and holds no data yet. Throws NodeError, or KeyError for a file that cannot be used.
 */
export function prepareClusterKey(config: NodeConfig): ClusterKey {
  const { clusterKeyFile, dataDirectory } = config;
  if (existsSync(clusterKeyFile)) return readClusterKey(clusterKeyFile);
  if (existsSync(join(dataDirectory, 'postgres'))) {
    throw new NodeError(
      `the cluster key ${clusterKeyFile} is missing, and nothing in ${dataDirectory} can be read ` +
        'without it: put it back',
    );
  }
  const isAlone = config.logServers.length === 1 && ownLogServer(config) !== undefined;
  if (config.found || isAlone) return createClusterKeyFile(clusterKeyFile);
  throw new NodeError(
    `the cluster key ${clusterKeyFile} is missing: copy it from another node, ` +
      'or begin a new cluster here with "found": true',
  );
}
