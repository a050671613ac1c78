/** Ends the program with one line on stderr. Exit code 1: refused or failed; 2: used wrongly. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: 1 | 2;

  constructor(message: string, options: { exitCode?: 1 | 2; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** No server answered, or the last one could not: worth asking again later. */
export class UnansweredError extends CliError {}
