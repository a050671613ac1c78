const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Epoch milliseconds of an ISO 8601 date or time, or of a duration back from now (`90s`, `15m`, `2h`, `7d`); null if neither. */
export function parseSince(text: string, nowMs: number): number | null {
  const duration = /^(\d{1,6})([smhd])$/.exec(text);
  if (duration !== null) {
    return nowMs - Number(duration[1]) * UNIT_MS[duration[2] as keyof typeof UNIT_MS];
  }
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/.test(text)) {
    return null;
  }
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : atMs;
}
