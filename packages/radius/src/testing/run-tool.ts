import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

const deadlineMs = 15_000;

/** All that a command wrote, whatever its exit code; it is ended after 15 s. */
export async function runTool(options: {
  command: string;
  args: readonly string[];
  /** One line for its standard input. */
  input?: string;
}): Promise<string> {
  const child = spawn(options.command, options.args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: deadlineMs,
  });
  // A command that ends without reading is no failure of the test's.
  child.stdin.on('error', () => undefined);
  child.stdin.end(`${options.input ?? ''}\n`);
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return out + error;
}
