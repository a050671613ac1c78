export type IdentityErrorCode =
  | 'missing'
  | 'exists'
  | 'unreadable'
  | 'unsafe_mode'
  | 'malformed'
  | 'refused';

/** What shows who belongs to the cluster cannot be used; `message` is one line fit for an operator. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly code: IdentityErrorCode;

  constructor(code: IdentityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
