import type { ExaminedNode } from '@countersign/doctor';

import { checkExposure, speaksHttps } from './check-exposure.ts';
import { readNodeConfig, type NodeConfig } from './config.ts';

/** As a start reads and checks it. Throws NodeError, a line that names file and key. */
export function readExaminedNode(configFile: string): ExaminedNode {
  const config = readNodeConfig(configFile);
  checkExposure(config, configFile);
  return examinedNode(config);
}

/** What `doctor` needs to know of a node to look at its machine. */
export function examinedNode(config: NodeConfig): ExaminedNode {
  const { name, dataDirectory, clusterKeyFile, keys, database, http, tls, url } = config;
  const { radius, limits, logServers, nats } = config;
  return {
    name,
    dataDirectory,
    secretFiles: [
      clusterKeyFile,
      keys.kekFile,
      database?.passwordFile,
      nats?.passwordFile,
      nats?.keyFile,
    ].filter((file) => file != null),
    http: { host: http.host, port: http.port, tls: http.tls, isHttps: speaksHttps(config) },
    tls,
    url,
    radius,
    limits,
    logServers,
    isOperatorsNats: nats !== null,
    file: config.file,
  };
}
