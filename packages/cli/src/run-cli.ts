import { escapeUntrusted } from '@countersign/verification';
import { CommanderError } from 'commander';
import { buildProgram } from './build-program.ts';
import { CliError } from './cli-error.ts';

/** Runs one command line and returns its exit code: 0 done, 1 refused or failed, 2 used wrongly. */
export async function runCli(argv: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync([...argv]);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has said itself what is wrong; help and version were asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`countersign: ${escapeUntrusted(message, 2_000)}\n`);
    return error instanceof CliError ? error.exitCode : 1;
  }
}
