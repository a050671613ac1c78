import { Worker } from 'node:worker_threads';

export type FloodOptions = {
  urls: string[];
  apiKey: string;
  method: string;
  path: string;
  /** As many requests as bodies, in turn to each address. */
  bodies: string[];
  ratePerSecond: number;
};

export type FloodFigures = {
  sent: number;
  /** Answers by what they say: a verification's reason or status, a problem's code. */
  outcomes: Record<string, number>;
  durationMs: number;
  latenciesMs: number[];
};

/**
 * Sends requests at a fixed rate whether or not they are answered, from a thread of its own, so that its work
 * does not slow down whoever measures beside it. Resolves when all are answered.
 */
export function flood(options: FloodOptions): Promise<FloodFigures> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('./flood-thread.ts', import.meta.url), {
      workerData: options,
      execArgv: [],
    });
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the flood ended early (${code})`)));
  });
}
