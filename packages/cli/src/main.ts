import { runCli } from './run-cli.ts';

// `countersign events | head` ends the pipe early: nothing is wrong then.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

process.exitCode = await runCli(process.argv);
