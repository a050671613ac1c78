export type PrivateFileErrorCode =
  | 'exists'
  | 'missing'
  | 'unreadable'
  | 'unsafe_mode'
  | 'malformed';

/** A file that cannot be read or written as it should; `message` is one line fit for an operator. */
export class PrivateFileError extends Error {
  override readonly name = 'PrivateFileError';
  readonly code: PrivateFileErrorCode;

  constructor(code: PrivateFileErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
