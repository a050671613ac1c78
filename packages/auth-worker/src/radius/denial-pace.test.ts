import { describe, expect, it } from 'vitest';
import { DenialPace } from './denial-pace.ts';

const MINUTE_MS = 60_000;

describe('the pace of denials', () => {
  it('is that of the slowest wrong password of the last 5 to 10 minutes, of each client alone', () => {
    const pace = new DenialPace();
    expect(pace.of('vpn', 0)).toBe(0);
    pace.note('vpn', 700, 0);
    pace.note('vpn', 300, MINUTE_MS);
    expect(pace.of('vpn', 2 * MINUTE_MS)).toBe(700);
    expect(pace.of('gateway', 2 * MINUTE_MS)).toBe(0);
    pace.note('vpn', 200, 6 * MINUTE_MS);
    expect(pace.of('vpn', 9 * MINUTE_MS)).toBe(700);
    pace.note('vpn', 100, 12 * MINUTE_MS);
    expect(pace.of('vpn', 12 * MINUTE_MS)).toBe(200);
    expect(pace.of('vpn', 30 * MINUTE_MS)).toBe(0);
  });

  it('is never more than 3 s, whatever a directory took', () => {
    const pace = new DenialPace();
    pace.note('vpn', 9000);
    expect(pace.of('vpn')).toBe(3000);
  });

  it('holds a quick denial, and ends a slow one at the next mark', async () => {
    const pace = new DenialPace();
    pace.note('vpn', 400);
    const startedAt = performance.now();
    await pace.hold('vpn', startedAt);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(499);
    const before = performance.now();
    await pace.hold('vpn', before - 1100);
    expect(performance.now() - before + 1100).toBeGreaterThanOrEqual(1249);
  });
});
