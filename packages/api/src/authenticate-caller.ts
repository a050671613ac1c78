import type { FastifyRequest } from 'fastify';
import type { ApiServer } from './api-server.ts';
import { normaliseAddress } from './client-address.ts';
import type { ApiPorts, Caller } from './ports.ts';
import { ProblemError } from './problem.ts';

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;

/** Checks key and scope of every request before its body is read. A route that names no access can't be added. */
export function authenticateCallers(api: ApiServer, ports: ApiPorts, isLocal: boolean): void {
  api.decorateRequest('caller', null);
  api.decorateRequest('startedAtMs', 0);
  api.decorateRequest('remoteAddress', '');

  api.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) throw new Error(`route ${route.url} names no access`);
  });

  api.addHook('onRequest', async (request) => {
    request.startedAtMs = performance.now();
    request.remoteAddress = isLocal ? 'local' : addressOf(request);
    const access = request.routeOptions.config.access;
    // Only the not-found handler has no access: onRoute above sees to that.
    if (access === undefined || 'open' in access) return;

    const bearer = bearerOf(request);
    if (bearer === null && !isLocal) throw unauthorized();
    const caller = await ports.authenticate({
      bearer,
      remoteAddress: request.remoteAddress,
      local: isLocal,
      isConfirmedLater: access.isConfirmedLater ?? false,
    });
    if (caller === null) throw unauthorized();
    if (!caller.scopes.has(access.scope)) {
      throw new ProblemError(403, 'forbidden', `This needs a key with the scope ${access.scope}.`);
    }
    request.caller = caller;
  });
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
  return access !== undefined && 'scope' in access && (caller?.scopes.has(access.scope) ?? false);
}

function bearerOf(request: FastifyRequest): string | null {
  return BEARER.exec(request.headers.authorization ?? '')?.[1] ?? null;
}

// request.ip is the rightmost hop that is no trusted proxy; a proxy may forward any text there.
function addressOf(request: FastifyRequest): string {
  return normaliseAddress(request.ip) ?? normaliseAddress(request.socket.remoteAddress) ?? '';
}

function unauthorized(): ProblemError {
  return new ProblemError(401, 'unauthorized', 'Send a valid API key as a bearer token.');
}
