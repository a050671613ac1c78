import { once } from 'node:events';
import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { json } from 'node:stream/consumers';
import type { ExaminedNode } from './examined-node.ts';

const ANSWER_MS = 2_000;
const BODY_MAX_BYTES = 64 * 1024;

/** What a node's own API says at an open path. Throws when nothing, or something else, answers there. */
export async function askHealth(
  { http }: Pick<ExaminedNode, 'http'>,
  path: '/healthz' | '/readyz',
): Promise<{ node?: unknown; ready?: unknown; problems?: unknown }> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const request = http.isHttps ? requestHttps : requestHttp;
  const asked = request({
    host: reachableHost(http.host),
    port: http.port,
    path,
    signal,
    agent: false,
    // Certificates are a check of their own; here it is asked who is there.
    rejectUnauthorized: false,
  });
  asked.end();
  try {
    const [reply] = (await once(asked, 'response', { signal })) as [IncomingMessage];
    const length = Number(reply.headers['content-length'] ?? Infinity);
    if (length > BODY_MAX_BYTES) throw new Error('what listens there is no Countersign');
    return (await json(reply)) as object;
  } catch (error) {
    if (signal.aborted) throw new Error(`silent for ${ANSWER_MS / 1000} s`, { cause: error });
    const { code = '' } = error as { code?: string };
    if (error instanceof SyntaxError || code.startsWith('HPE_')) {
      throw new Error('what listens there is no Countersign', { cause: error });
    }
    if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
      throw new Error('what listens there speaks no TLS', { cause: error });
    }
    throw error;
  } finally {
    asked.destroy();
  }
}

/** Where a listener at every address is reached. */
export function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
