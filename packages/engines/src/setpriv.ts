import { EngineError } from './engine-error.ts';

export interface OsUser {
  name: string;
  uid: number;
  gid: number;
}

export interface PrivilegeOptions {
  command: string;
  args: readonly string[];
  /** The kernel sends this to the process when the process that started it is gone. */
  parentDeathSignal: NodeJS.Signals;
  /** Run as this user instead of the caller's; only root can. */
  runAs?: OsUser | undefined;
}

/**
 * The command line that runs `command` through setpriv(1). setpriv becomes the command (exec), so
 * the process id is the command's own.
 */
export function wrapInSetpriv(options: PrivilegeOptions): { command: string; args: string[] } {
  if (process.platform !== 'linux') {
    throw new EngineError(`embedded engines run on Linux only, this is ${process.platform}`);
  }
  const args = ['--pdeathsig', options.parentDeathSignal.replace(/^SIG/, '')];
  const { runAs } = options;
  if (runAs && runAs.uid !== process.getuid?.()) {
    args.push(`--reuid=${runAs.uid}`, `--regid=${runAs.gid}`, '--clear-groups');
  }
  args.push('--', options.command, ...options.args);
  return { command: 'setpriv', args };
}

/** Why starting a wrapped command failed, told in one line. */
export function explainSpawnError(error: NodeJS.ErrnoException): EngineError {
  const message =
    error.code === 'ENOENT'
      ? 'setpriv is missing: install the package util-linux'
      : `cannot start a process: ${error.message}`;
  return new EngineError(message, { cause: error });
}
