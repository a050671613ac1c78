import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const program = `
  const { confirmByTyping } = await import(${JSON.stringify(new URL('./confirm.ts', import.meta.url).href)});
  try {
    await confirmByTyping('node-3', 'Everything else is given up.');
    console.log('went on');
  } catch (error) {
    console.log(error.message);
  }
`;

/** At a terminal of its own, as `script` makes one, or with a pipe for stdin. */
async function typing(line: string, at: 'terminal' | 'pipe'): Promise<string> {
  const node = [process.execPath, '--input-type=module', '-e', program];
  const quoted = node.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const [command = '', ...args] = at === 'pipe' ? node : ['script', '-qec', quoted, '/dev/null'];
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], timeout: 20_000 });
  const output = text(child.stdout);
  child.stdin.write(`${line}\n`);
  child.once('exit', () => child.stdin.destroy());
  return output;
}

describe('what cannot be undone', () => {
  it('goes on when its name is typed at a terminal', async () => {
    const output = await typing('node-3', 'terminal');
    expect(output).toContain('Everything else is given up.');
    expect(output).toContain('Type node-3 to go on: ');
    expect(output).toContain('went on');
  });

  it('does not when anything else is', async () => {
    for (const line of ['yes', 'node-2', '']) {
      const output = await typing(line, 'terminal');
      expect(output).toContain('not confirmed: nothing was changed');
      expect(output).not.toContain('went on');
    }
  });

  it('does not by a pipe, whatever comes out of it', async () => {
    const output = await typing('node-3', 'pipe');
    expect(output).toBe(
      'nobody is there to confirm it: look at the above, then repeat with --yes\n',
    );
  });
});
