import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';

import { z } from 'zod';

import { NodeError } from './node-error.ts';

export interface DemoApi {
  url: string;
  apiKey: string;
}

export const demoUsername = 'alice';
/** Nobody's: texts of a demo go to its outbox. */
export const demoPhone = '+31612345678';

const requestTimeoutMs = 5_000;
const commandDeadlineMs = 20_000;
const clusterReply = z.object({
  master: z.string().nullable(),
  nodes: z.array(
    z.object({
      name: z.string(),
      role: z.enum(['master', 'subordinate']),
      online: z.boolean(),
      behind: z.number(),
    }),
  ),
});
const userReply = z.object({
  authenticators: z.array(z.object({ id: z.string(), type: z.string() })),
});
const enrolReply = z.object({ id: z.string(), otpauth: z.string() });

export type DemoCluster = z.infer<typeof clusterReply>;

/** Whether a node can verify now; false when nothing answers. */
export async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, {
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** The cluster as one node sees it; undefined while that node cannot tell. */
export async function readCluster(api: DemoApi): Promise<DemoCluster | undefined> {
  try {
    const { status, body } = await call(api, 'GET', '/api/v1/cluster');
    if (status === 401 || status === 403) throw new NodeError(refusedKey);
    return status === 200 ? clusterReply.parse(body) : undefined;
  } catch (error) {
    if (error instanceof NodeError) throw error;
    return undefined;
  }
}

const refusedKey = "the cluster does not know the demo's API key any more: begin anew with --fresh";

/**
 * Makes the demo user with a phone, and a token for it unless `known` still is one of the user's.
 * Throws NodeError when the cluster refuses or does not do it in 20 s.
 */
export async function ensureDemoUser(
  api: DemoApi,
  known: { id: string; otpauth: string } | null,
): Promise<{ id: string; otpauth: string }> {
  const path = `/api/v1/users/${demoUsername}`;
  const found = await insist(api, 'GET', path);
  if (found.status === 404) {
    const email = 'alice@example.com';
    const user = { username: demoUsername, displayName: 'Alice Example', email };
    await insist(api, 'POST', '/api/v1/users', user);
  }
  const { authenticators } =
    found.status === 404 ? { authenticators: [] } : userReply.parse(found.body);
  if (!authenticators.some(({ type }) => type === 'phone')) {
    const phone = { type: 'phone', name: 'demo', number: demoPhone };
    await insist(api, 'POST', `${path}/authenticators`, phone);
  }
  if (known && authenticators.some(({ id }) => id === known.id)) return known;
  const enrolled = await insist(api, 'POST', `${path}/authenticators`, {
    type: 'totp',
    name: 'demo',
  });
  return enrolReply.parse(enrolled.body);
}

const demoApplication = 'vpn';
const demoRadiusClient = 'demo';

/**
 * Lets this machine ask over RADIUS, for codes alone: nobody here has a password. Throws NodeError like
 * {@link ensureDemoUser}.
 */
export async function ensureDemoRadiusClient(api: DemoApi, secret: string): Promise<void> {
  const found = await insist(api, 'GET', `/api/v1/radius/clients/${demoRadiusClient}`);
  if (found.status !== 404) return;
  const application = await insist(api, 'GET', `/api/v1/applications/${demoApplication}`);
  if (application.status === 404) {
    await insist(api, 'POST', '/api/v1/applications', { name: demoApplication });
  }
  await insist(api, 'POST', '/api/v1/radius/clients', {
    name: demoRadiusClient,
    application: demoApplication,
    addresses: ['127.0.0.1'],
    secret,
    firstFactor: { kind: 'none' },
  });
}

/** Repeats a request while the cluster is still finding itself; 404 is an answer to a GET, and what else `alsoDone` says. */
export async function insist(
  api: DemoApi,
  method: 'GET' | 'POST',
  path: string,
  content?: object,
  alsoDone: readonly number[] = [],
): Promise<{ status: number; body: unknown }> {
  // The same key each time: a repeat of what was done gets the first result.
  const idempotencyKey = randomUUID();
  const giveUpAt = performance.now() + commandDeadlineMs;
  for (;;) {
    let problem: string;
    try {
      const { status, body } = await call(api, method, path, content, idempotencyKey);
      const isDone = status < 300 || alsoDone.includes(status);
      if (isDone || (status === 404 && method === 'GET')) return { status, body };
      problem = `${status} ${describeProblem(body)}`;
      if (status < 500) throw new NodeError(`${method} ${path} was refused: ${problem}`);
    } catch (error) {
      if (error instanceof NodeError) throw error;
      problem = error instanceof Error ? error.message : String(error);
    }
    if (performance.now() > giveUpAt) {
      throw new NodeError(`${method} ${path} failed for ${commandDeadlineMs / 1000} s: ${problem}`);
    }
    await wait(200);
  }
}

async function call(
  api: DemoApi,
  method: 'GET' | 'POST',
  path: string,
  content?: object,
  idempotencyKey?: string,
): Promise<{ status: number; body: unknown }> {
  const headers: Record<string, string> = { authorization: `Bearer ${api.apiKey}` };
  if (content) headers['content-type'] = 'application/json';
  if (content && idempotencyKey) headers['idempotency-key'] = idempotencyKey;
  const response = await fetch(`${api.url}${path}`, {
    method,
    headers,
    ...(content && { body: JSON.stringify(content) }),
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  return { status: response.status, body: await response.json() };
}

function describeProblem(body: unknown): string {
  const problem = z.object({ detail: z.string() }).safeParse(body);
  return problem.success ? problem.data.detail : '';
}
