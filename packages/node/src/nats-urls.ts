import { readFileSync } from 'node:fs';

import { formatHostPort, type LogServerAddress, type OperatorsTls } from '@countersign/cluster';

import { NodeError } from './node-error.ts';
import { hostOf, isLoopback } from './url-host.ts';

/** A NATS that the operator runs; paths are absolute. */
export interface OperatorsNats {
  /** Of its servers, the nearest first. */
  urls: string[];
  authorityFile?: string | undefined;
  certificateFile?: string | undefined;
  keyFile?: string | undefined;
  user?: string | undefined;
  passwordFile?: string | undefined;
}

const CLIENT_PORT = 4222;

/**
 * What is wrong with `nats` of a configuration, in words; null: nothing. Over a network only encrypted, and only to
 * servers whose certificate is checked: whoever is in between would read who signs in when, and could write.
 */
export function flawOfNatsUrls(nats: OperatorsNats): string | null {
  const urls = nats.urls.map((text) => new URL(text));
  for (const { hostname, username, password, pathname, search } of urls) {
    if (username || password) return 'must not hold a user or password';
    if (!hostname || pathname.length > 1 || search) return 'must be tls://HOST[:PORT]';
  }
  if (new Set(natsAddresses(nats.urls).map(({ name }) => name)).size < urls.length) {
    return 'names a server twice';
  }
  const isTls = urls.some(({ protocol }) => protocol === 'tls:');
  if (isTls && urls.some(({ protocol }) => protocol !== 'tls:')) {
    return 'must all begin with tls://, or all with nats://';
  }
  if (Boolean(nats.user) !== Boolean(nats.passwordFile)) return 'needs user and passwordFile both';
  if (Boolean(nats.certificateFile) !== Boolean(nats.keyFile)) {
    return 'needs certificateFile and keyFile both';
  }
  if (isTls) {
    return nats.authorityFile
      ? null
      : 'needs authorityFile, the PEM of who signs certificates there';
  }
  if (nats.authorityFile || nats.certificateFile)
    return 'must begin with tls://: there are files for TLS';
  const open = urls.find((url) => !isLoopback(hostOf(url)));
  if (!open) return null;
  return `nats:// is for loopback only (127.x.x.x or [::1]), tls:// for ${open.hostname}`;
}

/** Where they are; the order stays. */
export function natsAddresses(urls: readonly string[]): LogServerAddress[] {
  return urls.map((text) => {
    const url = new URL(text);
    const host = hostOf(url);
    const clientPort = Number(url.port || CLIENT_PORT);
    return { name: formatHostPort(host, clientPort), host, clientPort, routePort: clientPort };
  });
}

/** Null: in the clear, on loopback. */
export function natsTls(nats: OperatorsNats): OperatorsTls | null {
  const { authorityFile, certificateFile, keyFile } = nats;
  if (!authorityFile) return null;
  return { authorityFile, ...(certificateFile && keyFile && { certificateFile, keyFile }) };
}

/** As whom an open node signs in; empty: as nobody. Throws NodeError naming the file that cannot be read. */
export function natsPassword({ user, passwordFile }: OperatorsNats) {
  if (!user || !passwordFile) return { user: '', password: '' };
  try {
    return { user, password: readFileSync(passwordFile, 'utf8').replace(/\r?\n$/, '') };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new NodeError(`nats.passwordFile: cannot read ${passwordFile} (${code})`, { cause });
  }
}
