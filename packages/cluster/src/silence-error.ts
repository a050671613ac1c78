/** No answer in time, or one that says nothing about the request's fate. */
export class SilenceError extends Error {
  override name = 'SilenceError';
}
