import swagger from '@fastify/swagger';
import { fastify, LogController } from 'fastify';
import type { FastifyBaseLogger } from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { answerClientError, answerNotFound, answerProblem } from './answer-problems.ts';
import type { ApiServer } from './api-server.ts';
import { authenticateCallers } from './authenticate-caller.ts';
import { describeApi } from './describe-api.ts';
import { describeIssues } from './describe-issues.ts';
import { addDocsPage, openDocsPage } from './docs-page.ts';
import { addOperations } from './operations/add-operations.ts';
import { MONITORING_DEFAULT } from './monitoring.ts';
import type { ApiPorts } from './ports.ts';
import { invalidRequest } from './problem.ts';
import { COMMAND_TIMEOUT_MS } from './run-command.ts';
import { boundTls, tlsOptions, type ApiTls } from './serve-tls.ts';

export type ApiOptions = {
  logger: FastifyBaseLogger;
  /** Addresses or CIDR blocks whose X-Forwarded-For is believed; the rightmost other hop is the client. */
  trustedProxies?: string[];
  /** Addresses or CIDR blocks that see metrics, problems and the API's description without a key; left out: this machine. */
  monitoringFrom?: readonly string[];
  /** True on a listener only the machine's owner can reach (a 0600 Unix socket): no key is needed there. */
  local?: boolean;
  bodyLimitBytes?: number;
  headerLimitBytes?: number;
  /** For a request to arrive in full. */
  requestTimeoutMs?: number;
  /** For a handler; above the command's own deadline, so that its outcome is told rather than this one's. */
  handlerTimeoutMs?: number;
  /** For a connection without any traffic. */
  idleTimeoutMs?: number;
  maxConnections?: number;
  /** Missing: plain HTTP, which is for loopback and for a Unix socket alone. */
  tls?: ApiTls;
};

// An unplanned takeover may follow a command that found no master.
const HANDLER_TIMEOUT_MS = COMMAND_TIMEOUT_MS + 20_000;
// An encoded username of 256 bytes fits.
const MAX_PARAM_LENGTH = 1_024;

/** The HTTP server of the Web Service SDK over the given ports. It does not listen yet. */
export function buildApi(ports: ApiPorts, options: ApiOptions): ApiServer {
  const requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
  const trustedProxies = options.trustedProxies ?? [];
  const listener = {
    maxHeaderSize: options.headerLimitBytes ?? 16 * 1024,
    requestTimeout: requestTimeoutMs,
    headersTimeout: requestTimeoutMs,
    // How often Node looks for slow requests; its default of 30 s would stretch both limits.
    connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
  };
  const api: ApiServer = fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: trustedProxies.length === 0 ? false : trustedProxies,
    bodyLimit: options.bodyLimitBytes ?? 64 * 1024,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: options.idleTimeoutMs ?? HANDLER_TIMEOUT_MS + 15_000,
    keepAliveTimeout: 30_000,
    handlerTimeout: options.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: answerProblem,
    clientErrorHandler: answerClientError,
    // To Fastify's types a server is HTTP or HTTPS; to all that uses it here it is the same.
    ...(options.tls
      ? ({ https: { ...listener, ...tlsOptions(options.tls) } } as object)
      : { http: listener }),
  }).withTypeProvider<ZodTypeProvider>();
  api.server.maxConnections = options.maxConnections ?? 4_096;
  if (options.tls) boundTls(api, options.tls);

  api.setErrorHandler(answerProblem);
  api.setNotFoundHandler(answerNotFound);
  parseJsonOnly(api);
  checkWithZod(api);
  openDocsPage(api);
  authenticateCallers(api, ports, {
    isLocal: options.local ?? false,
    monitoring: options.monitoringFrom ?? MONITORING_DEFAULT,
  });
  api.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
  });
  api.register(swagger, describeApi(ports.version));
  if (!options.local) addDocsPage(api);
  api.register(async (routes) => addOperations(routes.withTypeProvider<ZodTypeProvider>(), ports));
  return api;
}

// An empty body is none, also where a client always sends the JSON content type.
function parseJsonOnly(api: ApiServer): void {
  const parseJson = api.getDefaultJsonParser('error', 'error');
  api.removeAllContentTypeParsers();
  api.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    return parseJson(request, body as string, done);
  });
}

function checkWithZod(api: ApiServer): void {
  api.setValidatorCompiler<z.ZodType>(({ schema, httpPart }) => (data: unknown) => {
    const checked = schema.safeParse(data);
    if (checked.success) return { value: checked.data };
    const where = httpPart === 'querystring' ? 'query' : (httpPart ?? 'request');
    return { error: invalidRequest(describeIssues(checked.error.issues, where)) };
  });
  api.setSerializerCompiler(serializerCompiler);
}
