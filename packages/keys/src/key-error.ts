export type KeyErrorCode =
  | 'missing'
  | 'exists'
  | 'unreadable'
  | 'unsafe_mode'
  | 'malformed'
  | 'wrong_key'
  | 'wrong_kek'
  | 'damaged';

/** A key file or a sealed value that cannot be used; `message` is one line fit for an operator. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: KeyErrorCode;

  constructor(code: KeyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
