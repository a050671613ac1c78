import { X509Certificate } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';

import { fingerprintOf } from '@countersign/identity';

import { NodeError } from './node-error.ts';
import { hostOf } from './url-host.ts';

const HANDSHAKE_MS = 5_000;
/** Above the 30 s a server takes at most to say what became of a change. */
const ANSWER_MS = 35_000;
const ANSWER_MAX_BYTES = 512 * 1024;
const CHAIN_MAX = 5;

export type Answer = { status: number; body: Record<string, unknown> };

/**
 * The cluster's CA as that server shows it, once it is the one that the token pins. Nothing is sent before, and
 * whoever shows another CA learns nothing.
 * Throws NodeError: nobody listens, no TLS, or another cluster's server.
 */
export async function fetchPinnedAuthority(url: URL, caFingerprint: string): Promise<string> {
  const host = hostOf(url);
  const socket = connect({
    host,
    port: portOf(url),
    ...(isIP(host) === 0 && { servername: host }),
    // Judged below, by the token.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
  });
  try {
    const chain = await chainOf(socket, url);
    const pem = chain
      .map((certificate) => certificate.toString())
      .find((each) => fingerprintOf(each) === caFingerprint);
    const ca = pem === undefined ? undefined : new X509Certificate(pem);
    const [leaf] = chain;
    if (pem && ca?.ca && leaf && leaf.checkIssued(ca) && leaf.verify(ca.publicKey)) return pem;
    throw new NodeError(
      `${url.origin} is not a server of the cluster that made this token: its certificate is by another authority. ` +
        'Nothing was sent to it',
    );
  } finally {
    socket.destroy();
  }
}

/** Asks over a connection that only a server with a certificate of that CA for this name can be at the end of. */
export async function postJoin(options: {
  url: URL;
  caPem: string;
  body: object;
  idempotencyKey: string;
}): Promise<Answer> {
  const { url, caPem, idempotencyKey } = options;
  const body = JSON.stringify(options.body);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = httpsRequest(
    new URL('/api/v1/cluster/join', url),
    {
      method: 'POST',
      ca: caPem,
      minVersion: 'TLSv1.2',
      agent: false,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'idempotency-key': idempotencyKey,
      },
    },
    (reply) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      reply.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > ANSWER_MAX_BYTES) request.destroy(new Error('too long an answer'));
        else chunks.push(chunk);
      });
      reply.once('end', () => {
        try {
          const parsed = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer['body'];
          resolve({ status: reply.statusCode ?? 0, body: parsed });
        } catch {
          reject(new NodeError(`${url.origin} does not answer like a Countersign node`));
        }
      });
      reply.once('error', reject);
    },
  );
  const deadline = setTimeout(
    () => request.destroy(new Error(`no answer in ${ANSWER_MS / 1000} s`)),
    ANSWER_MS,
  );
  request.once('error', reject);
  request.end(body);
  try {
    return await promise;
  } catch (error) {
    if (error instanceof NodeError) throw error;
    throw new NodeError(`${url.origin}: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(deadline);
    request.destroy();
  }
}

async function chainOf(socket: TLSSocket, url: URL): Promise<X509Certificate[]> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const deadline = setTimeout(
    () => reject(new Error(`no TLS handshake in ${HANDSHAKE_MS / 1000} s`)),
    HANDSHAKE_MS,
  );
  socket.once('secureConnect', resolve);
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('it hung up')));
  try {
    await promise;
  } catch (error) {
    const why = (error as Error).message;
    throw new NodeError(`cannot reach ${url.origin} by TLS: ${why}`, { cause: error });
  } finally {
    clearTimeout(deadline);
    // What comes once nobody listens any more.
    socket.on('error', () => undefined);
  }
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next && chain.length < CHAIN_MAX && !chain.some((one) => one.raw.equals(next!.raw))) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

const portOf = ({ port }: URL) => (port === '' ? 443 : Number(port));
