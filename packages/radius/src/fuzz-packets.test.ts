import { setImmediate as breathe } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { expect, it, vi } from 'vitest';

import { fuzzPackets } from './testing/fuzz-packets.ts';

// Ten million take minutes: `npm run soak -- --fuzz`.
const isLong = process.env['COUNTERSIGN_LONG'] === '1';
const rounds = isLong ? 1_000 : 2;
const packetsPerRound = 10_000;
const mostGrowthBytes = 48 * 1024 * 1024;
if (isLong) vi.setConfig({ testTimeout: 3_600_000 });

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

it(`${rounds * packetsPerRound} mutated packets are read or refused: none throws, none is kept`, async () => {
  const counted = { decoded: 0, malformed: 0 };
  let settledBytes = 0;
  let grownBytes = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const { decoded, malformed } = fuzzPackets(packetsPerRound, round);
    counted.decoded += decoded;
    counted.malformed += malformed;
    // Compilers and heaps have their size after the first.
    if (round === Math.ceil(rounds / 50)) settledBytes = residentBytes();
    if (round % 50 === 0 || round === rounds) {
      grownBytes = Math.max(grownBytes, residentBytes() - settledBytes);
    }
    await breathe();
  }
  const packets = rounds * packetsPerRound;
  expect(counted.decoded + counted.malformed).toBe(packets);
  expect(counted.decoded).toBeGreaterThan(packets / 10);
  expect(counted.malformed).toBeGreaterThan(packets / 10);
  if (isLong) console.log(`memory grew by ${Math.round(grownBytes / 1024)} KiB`);
  expect(grownBytes).toBeLessThan(mostGrowthBytes);
});

function residentBytes(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}
