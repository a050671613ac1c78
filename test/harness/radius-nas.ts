import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { makeAttribute, packetCodes, RadiusClient } from '@countersign/radius';

type Setup = { port: number; secret: string };
type Asked = { id: number; username: string; password: string };
type Told = { id: number; code: number | null };

const ANSWER_MS = 60_000;

/** A RADIUS client in a process of its own, for tests that weigh the server's. */
export class RadiusNas implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (code: number | null) => void>();
  #last = 0;

  constructor(setup: Setup) {
    this.#child = fork(fileURLToPath(import.meta.url), { execArgv: [] });
    this.#child.send(setup);
    this.#child.on('message', ({ id, code }: Told) => {
      this.#waiting.get(id)?.(code);
      this.#waiting.delete(id);
    });
  }

  /** The reply's code; null: none came within a minute. */
  signIn(username: string, password: string): Promise<number | null> {
    this.#last += 1;
    const id = this.#last;
    const { promise, resolve } = Promise.withResolvers<number | null>();
    this.#waiting.set(id, resolve);
    this.#child.send({ id, username, password } satisfies Asked);
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

async function serve({ port, secret }: Setup): Promise<void> {
  const server = { name: 'node', host: '127.0.0.1', port, secret: Buffer.from(secret) };
  const client = new RadiusClient({
    servers: [{ ...server, messageAuthenticator: 'require' }],
    bounds: {
      firstWaitMs: 2000,
      longestWaitMs: 10_000,
      triesPerServer: 20,
      deadAfter: Number.MAX_SAFE_INTEGER,
      timeoutMs: ANSWER_MS,
      socketsPerServer: 10,
    },
  });
  process.on('message', ({ id, username, password }: Asked) => {
    const attributes = [
      makeAttribute('User-Name', username),
      makeAttribute('Calling-Station-Id', `laptop of ${username}`),
    ];
    const request = {
      code: packetCodes.accessRequest,
      attributes,
      password: Buffer.from(password),
    };
    void client
      .send(request, { timeoutMs: ANSWER_MS })
      .then((told) => process.send?.({ id, code: told.kind === 'answered' ? told.code : null }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [setup] = (await once(process, 'message')) as [Setup];
  await serve(setup);
}
