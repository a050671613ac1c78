import { execFile, type ExecFileException } from 'node:child_process';

import { explainSpawnError, wrapInSetpriv, type OsUser } from './setpriv.ts';

/** A command that did not end with exit code 0, with what it printed. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly output: string;

  constructor(message: string, output: string) {
    super(message);
    this.output = output;
  }
}

/**
 * Runs a command to its end and returns what it printed to stdout.
 * Throws CommandError when it fails, EngineError when it cannot be started at all.
 */
export async function runOnce(options: {
  command: string;
  args: readonly string[];
  runAs?: OsUser | undefined;
  env?: NodeJS.ProcessEnv;
  input?: string;
  timeoutMs: number;
}): Promise<string> {
  const wrapped = wrapInSetpriv({ ...options, parentDeathSignal: 'SIGKILL' });
  return await new Promise((resolve, reject) => {
    const child = execFile(
      wrapped.command,
      wrapped.args,
      {
        cwd: '/',
        ...(options.env && { env: options.env }),
        timeout: options.timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 4 * 1024 * 1024,
      },
      (error: ExecFileException | null, stdout, stderr) => {
        if (!error) return resolve(stdout);
        if (typeof error.code === 'string') return reject(explainSpawnError(error as never));
        const how = error.killed ? `did not end in ${options.timeoutMs} ms` : 'failed';
        reject(new CommandError(`${options.command} ${how}`, `${stdout}${stderr}`));
      },
    );
    // A command that ends before reading its input breaks the pipe; its exit code tells why.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}
