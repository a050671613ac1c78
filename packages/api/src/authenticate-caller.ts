import { hasRight, isSafeText, type Right } from '@countersign/verification';
import type { FastifyRequest } from 'fastify';
import type { Access, ApiServer } from './api-server.ts';
import { normaliseAddress } from './client-address.ts';
import { monitoringFrom } from './monitoring.ts';
import type { ApiPorts, Caller } from './ports.ts';
import { invalidRequest, ProblemError } from './problem.ts';

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;

const REASON_MAX_BYTES = 500;
/** Of a reply: the session anew. */
const SESSION_HEADER = 'countersign-session';

/** Checks key and scope of every request before its body is read. A route that names no access can't be added. */
export function authenticateCallers(
  api: ApiServer,
  ports: ApiPorts,
  { isLocal, monitoring }: { isLocal: boolean; monitoring: readonly string[] },
): void {
  const isFromMonitoring = monitoringFrom(monitoring);
  api.decorateRequest('caller', null);
  api.decorateRequest('startedAtMs', 0);
  api.decorateRequest('remoteAddress', '');
  api.decorateRequest('isMonitoring', false);

  api.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) throw new Error(`route ${route.url} names no access`);
  });

  api.addHook('onRequest', async (request, reply) => {
    request.startedAtMs = performance.now();
    request.remoteAddress = isLocal ? 'local' : addressOf(request);
    const access = request.routeOptions.config.access;
    // Only the not-found handler has no access: onRoute above sees to that.
    if (access === undefined) return;
    if ('open' in access || 'monitoring' in access) {
      request.isMonitoring = isLocal || isFromMonitoring(request);
      if ('open' in access || request.isMonitoring) return;
    }

    const bearer = bearerOf(request);
    if (bearer === null && !isLocal) throw unauthorized();
    const caller = await ports.authenticate({
      bearer,
      remoteAddress: request.remoteAddress,
      local: isLocal,
      isConfirmedLater: 'scope' in access && (access.isConfirmedLater ?? false),
      ...reasonOf(request),
    });
    if (caller === null) throw unauthorized();
    const wanted = scopeOf(access);
    if (wanted !== null && !hasRight(caller.scopes, wanted)) {
      const scope = [wanted].flat().join(' or ');
      throw new ProblemError(403, 'forbidden', `This needs a key with the scope ${scope}.`);
    }
    request.caller = caller;
    if (caller.renewedToken) reply.header(SESSION_HEADER, caller.renewedToken);
  });
}

function scopeOf(access: Access): Right | readonly Right[] | null {
  if ('monitoring' in access) return 'cluster:read';
  return 'scope' in access ? access.scope : null;
}

export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null) throw new Error('the route was reached without authentication');
  return request.caller;
}

/** For what lasts: whether its caller would be let in now. */
export async function isStillAllowed(request: FastifyRequest, ports: ApiPorts): Promise<boolean> {
  const { remoteAddress } = request;
  const access = request.routeOptions.config.access;
  const caller = await ports.authenticate({
    bearer: bearerOf(request),
    remoteAddress,
    local: remoteAddress === 'local',
    isConfirmedLater: false,
  });
  return (
    access !== undefined &&
    'scope' in access &&
    caller !== null &&
    hasRight(caller.scopes, access.scope)
  );
}

function bearerOf(request: FastifyRequest): string | null {
  return BEARER.exec(request.headers.authorization ?? '')?.[1] ?? null;
}

/** As a header, for any change may have one: percent-encoded, since headers are not for every script. */
function reasonOf(request: FastifyRequest): { reason?: string } {
  const header = request.headers['countersign-reason'];
  if (header === undefined) return {};
  const reason = decoded(String(header));
  const length = Buffer.byteLength(reason ?? '');
  if (reason === null || length === 0 || length > REASON_MAX_BYTES || !isSafeText(reason)) {
    throw invalidRequest('countersign-reason must be percent-encoded text of 1 to 500 bytes');
  }
  return { reason };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

// request.ip is the rightmost hop that is no trusted proxy; a proxy may forward any text there.
function addressOf(request: FastifyRequest): string {
  return normaliseAddress(request.ip) ?? normaliseAddress(request.socket.remoteAddress) ?? '';
}

function unauthorized(): ProblemError {
  return new ProblemError(
    401,
    'unauthorized',
    'Send a valid API key or session as a bearer token.',
  );
}
