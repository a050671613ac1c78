import { expect, it } from 'vitest';

import { fuzzPackets } from './testing/fuzz-packets.ts';

it('20,000 mutated packets are read or refused, and none throws', () => {
  const { decoded, malformed } = fuzzPackets(20_000, 1);
  expect(decoded + malformed).toBe(20_000);
  expect(decoded).toBeGreaterThan(2_000);
  expect(malformed).toBeGreaterThan(2_000);
});
