// Control, format (bidi, zero-width), line and paragraph separators, lone surrogates: what can
// rewrite a terminal or make one text look like another.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** Whether a text holds no control, ANSI, bidi, zero-width or broken character. */
export function isSafeText(text: string): boolean {
  return !UNSAFE.test(text);
}

/**
 * Text from outside, fit for a log, terminal or table: unsafe characters become `\u{1b}`, and
 * what exceeds `maxLength` (UTF-16 units of the result) becomes an ellipsis.
 */
export function escapeUntrusted(text: string, maxLength = 256): string {
  let escaped = '';
  for (const character of text) {
    const piece = isSafeText(character)
      ? character
      : `\\u{${character.codePointAt(0)?.toString(16)}}`;
    if (escaped.length + piece.length > maxLength) return shorten(escaped, maxLength);
    escaped += piece;
  }
  return escaped;
}

function shorten(escaped: string, maxLength: number): string {
  const kept = escaped.length < maxLength ? escaped : escaped.slice(0, maxLength - 1);
  // A cut through a surrogate pair would leave half of it.
  return `${kept.isWellFormed() ? kept : kept.slice(0, -1)}…`;
}
