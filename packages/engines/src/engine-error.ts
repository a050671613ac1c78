/** An engine cannot be found, started or kept; the message is one line an operator can act on. */
export class EngineError extends Error {
  override name = 'EngineError';
}
