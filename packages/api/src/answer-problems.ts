import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invalidRequest, PROBLEM_TYPE, problemBody, ProblemError } from './problem.ts';

/** The one place where anything thrown becomes a reply. What is not ours to explain is logged and told as 500. */
export function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const problem = toProblem(error, request);
  if (problem.status === 500 || problem.status === 504) {
    request.log.error(
      { err: problem.cause ?? problem, method: request.method, route: request.routeOptions?.url },
      'request failed',
    );
  }
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
  // Bytes go out as they are: the route's reply schema is about successes.
  void reply
    .code(problem.status)
    .header('content-type', PROBLEM_TYPE)
    .send(Buffer.from(JSON.stringify(problemBody(problem))));
}

export function answerNotFound(request: FastifyRequest, reply: FastifyReply): void {
  answerProblem(new ProblemError(404, 'not_found', 'There is nothing here.'), request, reply);
}

/** What Node refuses before there is a request: slow, oversized or malformed. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // Where it is TLS that failed, an orderly end would wait for it for ever.
  const isHttp = /^(HPE_|ERR_HTTP_)/.test(error.code ?? '');
  if (!isHttp || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(problemBody(connectionProblem(error.code)));
  const status = connectionProblem(error.code).status;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n` +
      `Content-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function connectionProblem(code: string | undefined): ProblemError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ProblemError(408, 'request_timeout', 'The request took too long to arrive.');
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new ProblemError(431, 'headers_too_large', 'Address and headers are too large.');
  }
  return invalidRequest('This is not HTTP as it should be.');
}

function toProblem(error: unknown, request: FastifyRequest): ProblemError {
  if (error instanceof ProblemError) return error;
  const { code } = error as { code?: string };
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError(413, 'body_too_large', 'The body is too large.');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError(415, 'unsupported_media_type', 'Send application/json.');
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return invalidRequest('The body is not JSON.');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return invalidRequest('The body is not as long as content-length says.');
    case 'FST_ERR_BAD_URL':
      return invalidRequest('The address is not valid.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ProblemError(414, 'address_too_long', 'The address is too long.');
    case 'FST_ERR_HANDLER_TIMEOUT':
      return handlerTimeout(request);
    default:
      return unexplained(error);
  }
}

function handlerTimeout(request: FastifyRequest): ProblemError {
  if (request.method === 'GET' || request.method === 'HEAD') {
    return new ProblemError(504, 'timeout', 'This node took too long to answer.');
  }
  return new ProblemError(504, 'outcome_unknown', 'This node took too long; it may have happened.');
}

// Framework refusals keep their status but not their text.
function unexplained(error: unknown): ProblemError {
  const { statusCode } = error as { statusCode?: number };
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ProblemError(statusCode, 'invalid_request', 'The request is not valid.');
  }
  return new ProblemError(500, 'internal_error', 'Something went wrong here; the log says what.', {
    cause: error,
  });
}
