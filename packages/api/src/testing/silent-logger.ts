import type { FastifyBaseLogger } from 'fastify';

export type LoggedLine = { level: string; fields: unknown; text: unknown };

/** A logger that prints nothing and keeps what it was told in `lines`. */
export function silentLogger(lines: LoggedLine[] = []): FastifyBaseLogger {
  const keep = (level: string) => (fields: unknown, text?: unknown) => {
    lines.push({ level, fields, text });
  };
  const logger: FastifyBaseLogger = {
    level: 'info',
    trace: keep('trace'),
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
    fatal: keep('fatal'),
    silent: () => undefined,
    child: () => logger,
  };
  return logger;
}
