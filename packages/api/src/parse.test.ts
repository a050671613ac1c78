import { describe, expect, it } from 'vitest';
import { normaliseAddress } from './client-address.ts';
import { parseSince } from './parse-since.ts';

describe('normaliseAddress', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['192.0.2.1:80', null],
    ['localhost', null],
    ['', null],
    [undefined, null],
  ])('writes %s as %s', (given, expected) => {
    expect(normaliseAddress(given)).toBe(expected);
  });
});

describe('parseSince', () => {
  const nowMs = Date.parse('2026-03-01T12:00:00Z');
  it.each([
    ['15m', '2026-03-01T11:45:00.000Z'],
    ['90s', '2026-03-01T11:58:30.000Z'],
    ['2h', '2026-03-01T10:00:00.000Z'],
    ['7d', '2026-02-22T12:00:00.000Z'],
    ['2026-02-28', '2026-02-28T00:00:00.000Z'],
    ['2026-02-28T10:00:00+02:00', '2026-02-28T08:00:00.000Z'],
  ])('reads %s', (text, expected) => {
    expect(new Date(parseSince(text, nowMs) ?? Number.NaN).toISOString()).toBe(expected);
  });

  it.each(['', 'm', '15', '15 m', '-15m', '1w', 'yesterday', '2026-13-01', '99999999d'])(
    'refuses "%s"',
    (text) => expect(parseSince(text, nowMs)).toBeNull(),
  );
});
