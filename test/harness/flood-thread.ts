import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { ApiClient } from './api-client.ts';
import type { FloodFigures, FloodOptions } from './flood.ts';

const TICK_MS = 5;

const { urls, apiKey, username, codes, ratePerSecond } = workerData as FloodOptions;
const clients = urls.map((url) => new ApiClient(url, apiKey));
const outcomes: Record<string, number> = {};
const latenciesMs: number[] = [];
const pending: Promise<void>[] = [];

const startedAt = performance.now();
while (pending.length < codes.length) {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * ratePerSecond);
  while (pending.length < Math.min(due, codes.length)) pending.push(send(pending.length));
  await sleep(TICK_MS);
}
const durationMs = performance.now() - startedAt;
await Promise.all(pending);
const figures: FloodFigures = { sent: codes.length, outcomes, durationMs, latenciesMs };
parentPort!.postMessage(figures);

async function send(index: number): Promise<void> {
  const sentAt = performance.now();
  let outcome: string;
  try {
    const api = clients[index % clients.length]!;
    const { status, body } = await api.verify({ username, code: codes[index]! });
    outcome = status === 200 ? (body.reason ?? body.status) : `${status} ${body.code}`;
  } catch (error) {
    outcome = String(error);
  }
  latenciesMs.push(performance.now() - sentAt);
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
