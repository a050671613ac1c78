/** A seeded source of whole numbers below a bound (mulberry32): a failing test fails again. */
export type Random = (below: number) => number;

export function seededRandom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, rank: random(2 ** 31) }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

/** Some JSON value, of every type sooner or later. */
export function randomJson(random: Random, depth = 0): unknown {
  const kind = random(depth > 3 ? 5 : 7);
  if (kind === 0) return null;
  if (kind === 1) return random(2) === 1;
  if (kind === 2) return random(1000) - 500;
  if (kind === 3) return random(2 ** 31) / 7;
  if (kind === 4) return String.fromCodePoint(random(0xd800), random(128));
  const children = Array.from({ length: random(4) }, () => randomJson(random, depth + 1));
  if (kind === 5) return children;
  const keys = ['id', 'at', '__proto__', 'code', 'constructor'];
  return Object.fromEntries(children.map((child) => [keys[random(keys.length)], child]));
}
