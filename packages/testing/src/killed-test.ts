import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * A test process that starts a server, lets it work once, and is killed with SIGKILL. `start` is
 * the source of a module whose default export gives the started server. Gives the server's process
 * id and folder.
 */
export async function startInKilledProcess(
  start: string,
): Promise<{ pid: number; folder: string }> {
  const index = new URL('index.ts', import.meta.url).href;
  const source = `
    const testing = await import(${JSON.stringify(index)});
    const server = await (${start})(testing);
    console.log(JSON.stringify({ pid: server.pid(), folder: server.folder }));
    setInterval(() => {}, 1e6);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 180_000,
    killSignal: 'SIGKILL',
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    for await (const line of createInterface(child.stdout)) {
      return JSON.parse(line) as { pid: number; folder: string };
    }
    throw new Error('the process ended before its server ran');
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
}
