const SHORT_MS = 12_000;

/** How long a fault lasts: long enough for every lease and watchdog, the whole time with COUNTERSIGN_LONG=1. */
export function faultMs(wholeMs: number): number {
  return process.env.COUNTERSIGN_LONG === '1' ? wholeMs : Math.min(wholeMs, SHORT_MS);
}
