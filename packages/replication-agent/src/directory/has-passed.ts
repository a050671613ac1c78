/**
 * Whether a moment is so long ago (all in ms). One that lies as far ahead counts too: it was noted by a clock that was
 * wrong, and would otherwise be waited for.
 */
export function hasPassed(at: number, ms: number, now: number): boolean {
  return Math.abs(now - at) >= ms;
}
