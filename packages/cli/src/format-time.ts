/** `2026-03-01 03:12:45` in the local time zone. */
export function formatLocalTime(atMs: number): string {
  const at = new Date(atMs);
  const date = [at.getFullYear(), pad(at.getMonth() + 1), pad(at.getDate())].join('-');
  return `${date} ${[pad(at.getHours()), pad(at.getMinutes()), pad(at.getSeconds())].join(':')}`;
}

/** How long ago in the largest fitting unit: `12 min ago`. */
export function formatAgo(atMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - atMs) / 1_000));
  if (seconds < 100) return `${seconds} s ago`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 48 * 3_600) return `${Math.round(seconds / 3_600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
