import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Right } from '@countersign/verification';
import type { Caller } from './ports.ts';

export type ApiServer = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Every route says who may use it: a scope, or one of several, whoever has a key or session, `open` for health checks, or `monitoring`: without a key for those who watch the node, with one for others. */
export type Access =
  | { scope: Right | readonly Right[]; isConfirmedLater?: true }
  | { anyScope: true }
  | { open: true }
  | { monitoring: true };

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    caller: Caller | null;
    startedAtMs: number;
    remoteAddress: string;
    /** What is open to all tells more to those who watch the node. */
    isMonitoring: boolean;
  }
}
