/** Ends the program with one line on stderr. Exit code 1: refused or failed; 2: used wrongly. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: 1 | 2;
  /** The server's stable code, or `no_answer`. */
  readonly code: string | null;

  constructor(message: string, options: { exitCode?: 1 | 2; code?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
    this.code = options.code ?? null;
  }
}

/** No server answered, or the last one could not: worth asking again later. */
export class UnansweredError extends CliError {}
