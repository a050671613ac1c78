import { expect, it } from 'vitest';
import { WorkerMetrics } from './metrics.ts';

const gauges = async () => ({
  ...{ revision: 1, epoch: 1, isCircuitOpen: false, outboxSize: 0, clockOffsetMs: 0 },
  ...{ isMaster: true, isConnected: true, backupAgeSeconds: null },
});

it('tell which witnesses are heard, and how long their certificates are good', async () => {
  const metrics = new WorkerMetrics({ node: 'node-1', worker: '0' }, gauges);
  const certificateExpiresAt = new Date(Date.now() + 3_600_000).toISOString();
  let witnesses = [{ name: 'w', online: true, certificateExpiresAt }];
  metrics.watchWitnesses(() => witnesses);
  const valueOf = async (name: string) => {
    const { text } = await metrics.render();
    const found = new RegExp(`^countersign_witness_${name}\\{[^}]*witness="w"[^}]*\\} (.+)$`, 'm');
    return found.exec(text)?.[1];
  };
  expect(await valueOf('up')).toBe('1');
  expect(Number(await valueOf('certificate_expires_seconds'))).toBeCloseTo(3600, -1);
  witnesses = witnesses.map((witness) => ({ ...witness, online: false }));
  expect(await valueOf('up')).toBe('0');
  // It was removed.
  witnesses = [];
  expect(await valueOf('up')).toBeUndefined();
});
