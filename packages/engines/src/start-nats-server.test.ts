import { chmod, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';

import { beforeAll, describe, expect, it } from 'vitest';

import { makeTrialFolder, singleNatsServer, takeFreePort, toolNatsServer } from './engine-trial.ts';
import { findNatsServer } from './find-nats-server.ts';
import { isRunning } from './running-process.ts';
import type { ProcessExit } from './spawn-supervised.ts';
import { startNatsServer } from './start-nats-server.ts';

describe('nats-server', () => {
  let binary: string;
  beforeAll(async () => {
    ({ binary } = await findNatsServer({ toolBinary: toolNatsServer }));
  });

  it('starts, stops and starts again on the same store', async () => {
    await using folder = await makeTrialFolder();
    const options = await singleNatsServer(folder.path, binary);
    for (let round = 0; round < 2; round += 1) {
      const server = await startNatsServer(options);
      expect(server.url).toBe(`nats://127.0.0.1:${options.clientPort}`);
      await server.stop();
      expect(isRunning(server.pid)).toBe(false);
    }
  });

  it('keeps its password in a file only its owner can read', async () => {
    await using folder = await makeTrialFolder();
    const options = await singleNatsServer(folder.path, binary);
    const configFile = `${options.storeDirectory}.conf`;
    await startNatsServer(options).then((server) => server.stop());
    await chmod(configFile, 0o644);
    await startNatsServer(options).then((server) => server.stop());
    expect((await stat(configFile)).mode & 0o777).toBe(0o600);
    expect((await stat(options.storeDirectory)).mode & 0o777).toBe(0o700);
    expect(await readFile(options.logFile, 'utf8')).not.toContain('trial-password');
  });

  it('comes back at once on its ports after kill -9, which is reported', async () => {
    await using folder = await makeTrialFolder();
    const options = await singleNatsServer(folder.path, binary);
    const exit = await new Promise<ProcessExit>((resolve, reject) => {
      startNatsServer({ ...options, onExit: resolve })
        .then((server) => process.kill(server.pid, 'SIGKILL'))
        .catch(reject);
    });
    expect(exit).toEqual({ code: null, signal: 'SIGKILL' });
    const server = await startNatsServer(options);
    await server.stop();
  });

  it('tells a taken port and whose it would have been', async () => {
    await using folder = await makeTrialFolder();
    const options = await singleNatsServer(folder.path, binary);
    const other = createServer().listen(options.clientPort, '127.0.0.1');
    await once(other, 'listening');
    await expect(startNatsServer(options)).rejects.toThrow(
      `port ${options.clientPort} on 127.0.0.1 (nats-server of node-1) is taken by another program`,
    );
    other.close();
  });

  it('tells what the server itself complained about', async () => {
    await using folder = await makeTrialFolder();
    const options = await singleNatsServer(folder.path, binary);
    const exits: ProcessExit[] = [];
    const port = await takeFreePort();
    const cluster = { host: '127.0.0.1', port, routes: [], noAdvertise: true as const };
    const onExit = (exit: ProcessExit) => exits.push(exit);
    await expect(startNatsServer({ ...options, cluster, onExit })).rejects.toThrow(
      /^nats-server of node-1 ended at its start: .*JetStream cluster requires configured routes/,
    );
    expect(exits).toEqual([]);
  });
});
