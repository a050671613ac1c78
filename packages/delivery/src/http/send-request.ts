import { lookup as lookupName } from 'node:dns/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';

import {
  isHostAllowed,
  refuseAddress,
  type AddressPolicy,
  type FoundAddress,
} from './check-address.ts';

export interface OutgoingRequest {
  method: 'GET' | 'POST' | 'PUT';
  url: URL;
  headers: Record<string, string>;
  body?: string;
}

export interface RequestLimits {
  policy: AddressPolicy;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** PEM certificates to trust instead of the system's. */
  trustedCertificates?: string | undefined;
}

/** `wasSent`: the request may have reached the other side. */
export type HttpAnswer =
  | { answered: true; status: number; body: string; isWhole: boolean }
  | { answered: false; wasSent: boolean; reason: string };

const maxAnswerBytes = 16 * 1024;
const maxHeaderBytes = 16 * 1024;

/**
 * One request on a connection of its own, to an address that was checked: the name is resolved
 * once, and what was checked is what is connected to. Redirects are answers like any other. Of the
 * answer at most 16 KiB are read (`isWhole` says whether that was all).
 */
export async function sendRequest(
  outgoing: OutgoingRequest,
  limits: RequestLimits,
): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(limits.timeoutMs);
  const signal = limits.signal ? AbortSignal.any([limits.signal, deadline]) : deadline;
  const found = await findAddress(outgoing.url, limits.policy, signal);
  if ('reason' in found) return { answered: false, wasSent: false, reason: found.reason };
  return await exchange(outgoing, { ...found, signal, ca: limits.trustedCertificates });
}

async function findAddress(
  url: URL,
  policy: AddressPolicy,
  signal: AbortSignal,
): Promise<FoundAddress | { reason: string }> {
  const isAllowed = isHostAllowed(url, policy);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isAllowed)) {
    return { reason: `plain http to ${url.host} is not allowed on this node` };
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = await resolve(host, policy.resolveName ?? resolveWithSystem, signal);
  if ('reason' in addresses) return addresses;
  const refusals = isAllowed ? [] : addresses.map(({ address }) => refuseAddress(address, policy));
  const refusal = refusals.find((reason) => reason !== undefined);
  // One bad address among good ones is a name under somebody's control: none of them is used.
  if (refusal) return { reason: `${url.host} is ${refusal}, which is not allowed on this node` };
  return addresses[0] ?? { reason: `${host} has no address` };
}

const resolveWithSystem = (host: string) => lookupName(host, { all: true, order: 'ipv4first' });

async function resolve(
  host: string,
  resolveName: (host: string) => Promise<FoundAddress[]>,
  signal: AbortSignal,
): Promise<FoundAddress[] | { reason: string }> {
  if (isIP(host)) return [{ address: host, family: isIP(host) }];
  // getaddrinfo cannot be cancelled; what it finds too late is dropped.
  const aborted = new Promise<{ reason: string }>((done) => {
    signal.addEventListener('abort', () => done({ reason: `${host} was not resolved in time` }), {
      once: true,
    });
  });
  const looked = resolveName(host).catch((error: unknown) => ({
    reason: `${host} cannot be resolved (${codeOf(error)})`,
  }));
  if (signal.aborted) return { reason: `${host} was not resolved in time` };
  return await Promise.race([looked, aborted]);
}

function exchange(
  outgoing: OutgoingRequest,
  to: FoundAddress & { signal: AbortSignal; ca: string | undefined },
): Promise<HttpAnswer> {
  const { promise, resolve } = Promise.withResolvers<HttpAnswer>();
  const { url, method, body } = outgoing;
  const isSecure = url.protocol === 'https:';
  let wasSent = false;
  const request = (isSecure ? requestHttps : requestHttp)(url, {
    method,
    agent: false,
    maxHeaderSize: maxHeaderBytes,
    signal: to.signal,
    headers: {
      ...outgoing.headers,
      ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
    },
    lookup: (_host, options, found) => {
      if (options.all) found(null, [{ address: to.address, family: to.family }]);
      else found(null, to.address, to.family);
    },
    ...(isSecure && { minVersion: 'TLSv1.2', ...(to.ca !== undefined && { ca: to.ca }) }),
  });
  request.once('socket', (socket) => {
    socket.once(isSecure ? 'secureConnect' : 'connect', () => (wasSent = true));
  });
  const fail = (error: unknown) => {
    const why = to.signal.aborted ? 'no answer in time' : codeOf(error);
    resolve({ answered: false, wasSent, reason: `${url.host}: ${why}` });
  };
  request.on('error', fail);
  request.once('response', (response) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const finish = (isWhole: boolean) => {
      const text = Buffer.concat(chunks).subarray(0, maxAnswerBytes).toString('utf8');
      resolve({ answered: true, status: response.statusCode ?? 0, body: text, isWhole });
      request.destroy();
    };
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > maxAnswerBytes) finish(false);
    });
    response.once('end', () => finish(true));
    // The status has come: an answer that breaks off after it is still an answer.
    response.on('error', () => finish(false));
    response.once('close', () => finish(false));
  });
  request.end(body);
  return promise;
}

function codeOf(error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException;
  return code ?? name ?? 'error';
}
