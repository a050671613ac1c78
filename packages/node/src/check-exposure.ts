import { existsSync } from 'node:fs';

import type { NodeConfig } from './config.ts';
import { identityFolderOf } from './log-access.ts';
import { NodeError } from './node-error.ts';
import { isLoopback } from './url-host.ts';

const makeOne =
  'make one with "countersign init" (the first node) or "countersign join" (every other)';
const whyNot =
  'is not a loopback address (127.x.x.x or ::1), and nothing is encrypted on a node without identity';

/** A node with an identity speaks TLS alone; an open one stays on loopback. */
export function isSecured({ dataDirectory }: Pick<NodeConfig, 'dataDirectory'>): boolean {
  return existsSync(identityFolderOf(dataDirectory));
}

/** Whether the API is HTTPS: with the node's own certificate or the operator's. */
export function speaksHttps(config: Pick<NodeConfig, 'dataDirectory' | 'http'>): boolean {
  return config.http.tls !== null || isSecured(config);
}

/**
 * Nothing that is not encrypted may cross a network. Throws NodeError, a line that names file and key and says what to
 * do.
 */
export function checkExposure(config: NodeConfig, file: string): void {
  const { http, url, logServers } = config;
  const refuse = (key: string, why: string) => {
    throw new NodeError(`${file}: ${key}: ${why}`);
  };
  const isOpen = !isSecured(config);
  if (!isLoopback(http.host) && !speaksHttps(config)) {
    const advice = `${makeOne}, or name a certificate of your own in http.tls`;
    refuse('http.host', `${http.host} ${whyNot}: ${advice}`);
  }
  if (config.nats) {
    const far = isOpen && logServers.find(({ host }) => !isLoopback(host));
    if (far) refuse('nats.urls', `${far.host} ${whyNot}: ${makeOne}`);
    if (!isOpen && config.nats.user) {
      const why = 'counts only on a node without identity: this one signs in with its own keys';
      refuse('nats.user', `${why} (countersign nats-config)`);
    }
  }
  for (const [index, { host }] of config.nats ? [] : logServers.entries()) {
    const key = `logServers[${index}].host`;
    if (isOpen && !isLoopback(host)) refuse(key, `${host} ${whyNot}: ${makeOne}`);
    if (isAnyAddress(host)) refuse(key, 'give the address at which the other nodes reach it');
  }
  if (url?.startsWith('http:') && speaksHttps(config)) {
    refuse('url', 'must begin with https://, because this node speaks nothing else');
  }
}

function isAnyAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
