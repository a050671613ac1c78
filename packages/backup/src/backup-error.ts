export type BackupErrorCode =
  /** No backup of Countersign, or nothing of it. */
  | 'foreign'
  /** Of a version of Countersign that this one does not know. */
  | 'newer'
  /** Cut off, altered, or not what it says it is. */
  | 'damaged'
  | 'wrong_secret'
  /** The file is there already: nothing is overwritten. */
  | 'exists'
  | 'unwritable'
  | 'unreadable'
  /** What was to be read from is no whole replica now. */
  | 'not_now'
  /** What was given to encrypt to, or to open with, cannot be used. */
  | 'bad_secret';

/** One line for an operator. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
  readonly code: BackupErrorCode;

  constructor(code: BackupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function damaged(how: string, cause?: unknown): BackupError {
  return new BackupError('damaged', `the backup is damaged: ${how}`, { cause });
}
