import { escapeUntrusted } from '@countersign/verification';

const MAX_TEXT_LENGTH = 300;

/** The same data with every text in it made safe for a terminal. */
export function escapeAll<T>(value: T): T {
  return escapeValue(value) as T;
}

function escapeValue(value: unknown): unknown {
  if (typeof value === 'string') return escapeUntrusted(value, MAX_TEXT_LENGTH);
  if (Array.isArray(value)) return value.map(escapeValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [escapeUntrusted(key), escapeValue(inner)]),
  );
}
