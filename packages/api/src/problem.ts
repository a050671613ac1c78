import { STATUS_CODES } from 'node:http';
import { z } from 'zod';

/** RFC 9457. `code` is stable and for programs, `detail` is for people. */
export const problemSchema = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
});
export type Problem = z.infer<typeof problemSchema>;

export const PROBLEM_TYPE = 'application/problem+json';

/** A reply that is not a success. Ports may throw it too, e.g. 503 `not_ready` while PostgreSQL is away. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;
  readonly code: string;
  readonly fields: Record<string, unknown>;

  constructor(
    status: number,
    code: string,
    detail: string,
    options: { fields?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.status = status;
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

export function problemBody(problem: ProblemError): Problem {
  return {
    type: `urn:countersign:problem:${problem.code}`,
    title: STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    ...problem.fields,
  };
}

export function invalidRequest(detail: string): ProblemError {
  return new ProblemError(400, 'invalid_request', detail);
}
