import { describe, expect, it } from 'vitest';
import { describeExpiry, type CertificateKind } from './describe-expiry.ts';

const DAY_MS = 86_400_000;
const validToDate = new Date('2026-06-30T12:00:00Z');

/** What is said that many days before the end. */
function said(kind: CertificateKind, lifeDays: number, daysLeft: number): string | null {
  const validFromDate = new Date(validToDate.getTime() - lifeDays * DAY_MS);
  const now = new Date(validToDate.getTime() - daysLeft * DAY_MS);
  return describeExpiry({ validFromDate, validToDate }, kind, now);
}

describe('the end of a certificate', () => {
  it.each<[CertificateKind, number, number]>([
    ['own', 365, 30],
    ['own', 90, 22.5],
    ['own', 45, 11.25],
    ['own', 28, 7],
    ['renewed', 90, 22.5],
    ['renewed', 3650, 912.5],
    ['authority', 3650, 365],
  ])('of kind %s that lives %d days is told from %d days before', (kind, life, days) => {
    expect(said(kind, life, days + 0.01)).toBeNull();
    expect(said(kind, life, days)).toMatch(/^expires in \d+ days \(2026-06-30 12:00 UTC\)$/);
  });

  it('is told in hours when it is near, and as past afterwards', () => {
    expect(said('own', 365, 10.5)).toContain('in 10 days');
    expect(said('own', 365, 1.5)).toContain('in 36 hours');
    expect(said('own', 365, 0.05)).toContain('in less than 2 hours');
    expect(said('own', 365, 0)).toBe('has expired (2026-06-30 12:00 UTC)');
    expect(said('own', 365, -5)).toBe('has expired (2026-06-30 12:00 UTC)');
  });

  it('is not told before its beginning, which is', () => {
    expect(said('own', 30, 31)).toBe('does not count yet (before 2026-05-31 12:00 UTC)');
  });
});
