/**
 * Runs until it ends by itself, or until Ctrl-C or SIGTERM ends the program with exit code 0: that is
 * how one stops watching.
 */
export async function untilInterrupted(run: () => Promise<void>): Promise<void> {
  const stop = () => process.stdout.write('', () => process.exit(0));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await run();
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}
