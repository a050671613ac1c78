/**
 * JSON for a `::text::jsonb` parameter: rows of a multi-row statement travel as one parameter,
 * so that a batch of any size is one prepared statement. What PostgreSQL cannot store (NUL,
 * half a surrogate pair) becomes U+FFFD, lest one odd event stop a follower for good.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(/\\\\|\\u(?:0000|d[89a-f][0-9a-f]{2})/g, (escape) =>
    escape === '\\\\' ? escape : '\\ufffd',
  );
}

/** What comes back of a value that was stored as {@link jsonText}. */
export function storedJson(value: unknown): unknown {
  return JSON.parse(jsonText(value)) as unknown;
}
