import { connect as connectTcp, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, getCACertificates } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { DirectoryError } from './directory-error.ts';
import { OPERATION, readMessage, readMessageSize } from './ldap-message.ts';
import type { DirectoryConfig } from './types.ts';

export type ServerAddress = { url: string; host: string; port: number; isTls: boolean };

type Trust = Pick<DirectoryConfig, 'certificates' | 'startTls' | 'connectMs'>;

/** Reads ldap://host:port and ldaps://host:port. */
export function parseServer(url: string): ServerAddress {
  const match = /^(ldaps?):\/\/(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::(\d{1,5}))?$/i.exec(url);
  const host = match?.[2] ?? match?.[3];
  const port = Number(match?.[4] ?? (match?.[1]?.toLowerCase() === 'ldaps' ? 636 : 389));
  if (!match || !host || port < 1 || port > 65_535) {
    throw new DirectoryError('unreachable', `${url} is no address of a directory`);
  }
  return { url, host, port, isTls: match[1]!.toLowerCase() === 'ldaps' };
}

/**
 * A connection to a server that is trusted: TLS 1.2 or better, from the first byte or by StartTLS;
 * without it only to this machine. Ends within `connectMs`; throws DirectoryError.
 */
export async function openSocket(address: ServerAddress, trust: Trust): Promise<Socket> {
  const withTls = address.isTls || trust.startTls;
  if (!withTls && !isLoopback(address.host)) {
    const why = 'passwords would be sent in the clear: use ldaps:// or StartTLS';
    throw new DirectoryError('certificate', `${address.url}: ${why}`);
  }
  let socket: Socket = connectTcp({ host: address.host, port: address.port });
  const deadline = setTimeout(
    () => socket.destroy(new Error(`no answer within ${trust.connectMs} ms`)),
    trust.connectMs,
  );
  try {
    await hasHappened(socket, 'connect');
    socket.setNoDelay(true);
    if (!address.isTls && trust.startTls) await askForTls(socket);
    if (withTls) {
      const secured = secure(socket, address, trust);
      socket = secured;
      await hasHappened(secured, 'secureConnect');
      checkPin(secured, trust.certificates.pinned);
    }
    socket.setKeepAlive(true, 30_000);
    return socket;
  } catch (error) {
    socket.destroy();
    throw describe(address, error);
  } finally {
    clearTimeout(deadline);
  }
}

export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host.toLowerCase() === 'localhost';
}

function hasHappened(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}

// ExtendedRequest 1 with the OID of RFC 4511 4.14.
const START_TLS = Buffer.concat([
  Buffer.from('301d02010177188016', 'hex'),
  Buffer.from('1.3.6.1.4.1.1466.20037'),
]);

/**
 * We ask ourselves, not the library: bytes sent behind the answer, before TLS, would be taken by it
 * for the beginning of what comes through TLS.
 */
async function askForTls(socket: Socket): Promise<void> {
  const answer = new Promise<Buffer>((resolve, reject) => {
    let held = Buffer.alloc(0);
    const take = (chunk: Buffer) => {
      try {
        held = Buffer.concat([held, chunk]);
        const sizeBytes = readMessageSize(held);
        if (sizeBytes === null || held.length < sizeBytes) return;
        if (held.length > sizeBytes) throw new Error('it sent more than its answer to StartTLS');
        resolve(held);
      } catch (error) {
        reject(error);
      }
      socket.off('data', take);
      socket.pause();
    };
    socket.on('data', take);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
  socket.write(START_TLS);
  const { id, operation, resultCode } = readMessage(await answer);
  if (id !== 1 || operation !== OPERATION.extendedResponse || resultCode !== 0) {
    throw new Error(`it refused StartTLS (result ${resultCode})`);
  }
}

function secure(socket: Socket, { host }: ServerAddress, { certificates }: Trust): TLSSocket {
  const name = certificates.serverName ?? host;
  const isPinned = certificates.pinned.length > 0;
  return connectTls({
    socket,
    host: name,
    // An address cannot be asked for by SNI (RFC 6066 3), but is checked all the same.
    ...(isIP(name) ? {} : { servername: name }),
    minVersion: 'TLSv1.2',
    ca: certificates.authorities ?? systemAuthorities(),
    // A pin is checked instead, as soon as the certificate is known.
    rejectUnauthorized: !isPinned,
  });
}

function systemAuthorities(): string[] {
  return [...getCACertificates('system'), ...getCACertificates('extra')];
}

class PinError extends Error {}

function checkPin(socket: TLSSocket, pinned: string[]): void {
  if (pinned.length === 0) return;
  const certificate = socket.getPeerX509Certificate();
  const print = certificate?.fingerprint256.replaceAll(':', '').toLowerCase();
  if (!certificate || !print || !pinned.includes(print)) {
    throw new PinError(`its certificate is none of the pinned ones (SHA-256 ${print ?? 'none'})`);
  }
  const now = Date.now();
  if (now < certificate.validFromDate.getTime())
    throw new PinError('its certificate is not valid yet');
  if (now > certificate.validToDate.getTime()) {
    throw new PinError(`its certificate has expired (${certificate.validTo})`);
  }
}

const CERTIFICATE_FAULTS: Record<string, string> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself, and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is by an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is by an authority that is not trusted',
  CERT_SIGNATURE_FAILURE: 'its certificate is not by the authority that it names',
  CERT_REVOKED: 'its certificate was revoked',
};

function describe({ url }: ServerAddress, error: unknown): DirectoryError {
  if (error instanceof DirectoryError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const fault = CERTIFICATE_FAULTS[code ?? ''];
  if (fault) return new DirectoryError('certificate', `${url}: ${fault}`, { cause: error });
  if (
    error instanceof PinError ||
    code === 'ERR_TLS_CERT_ALTNAME_INVALID' ||
    code?.startsWith('CERT_')
  ) {
    return new DirectoryError('certificate', `${url}: ${oneLine(message)}`, { cause: error });
  }
  if (code?.startsWith('ERR_SSL_') || code === 'EPROTO') {
    const why = `no TLS 1.2 or better could be agreed on (${code})`;
    return new DirectoryError('unreachable', `${url}: ${why}`, { cause: error });
  }
  return new DirectoryError('unreachable', `${url}: ${oneLine(message || String(code))}`, {
    cause: error,
  });
}

/** Text from outside for one line of a message: no control characters, at most 200 characters. */
export function oneLine(text: string): string {
  return text
    .replace(/[\p{C}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, 200);
}
