/**
 * What is wrong with a directory. unreachable: no server answered in time, or what answered is no
 * directory; certificate: who answered is not trusted; credentials, base_dn, rights: as they say;
 * answer: it answered, but not with all that was asked, or nothing that can be built on.
 */
export type DirectoryFault =
  | 'unreachable'
  | 'certificate'
  | 'credentials'
  | 'base_dn'
  | 'rights'
  | 'answer';

/** The message says in one line what is wrong, for an administrator; it never holds a password. */
export class DirectoryError extends Error {
  override readonly name = 'DirectoryError';
  readonly fault: DirectoryFault;
  /** LDAP's result code (RFC 4511 4.1.9), where the directory gave one. */
  readonly resultCode: number | undefined;

  constructor(
    fault: DirectoryFault,
    message: string,
    { cause, resultCode }: { cause?: unknown; resultCode?: number } = {},
  ) {
    super(message, cause === undefined ? {} : { cause });
    this.fault = fault;
    this.resultCode = resultCode;
  }
}
