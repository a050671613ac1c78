/** A node or a demo cannot be started as asked; the message is one line an operator can act on. */
export class NodeError extends Error {
  override name = 'NodeError';
}
