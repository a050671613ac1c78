// Control, format (bidi, zero-width), line and paragraph separators, private use, lone surrogates.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;

/**
 * One line of text from outside, fit for a message: what is unsafe becomes a space, spaces
 * collapse, and it ends after `maxLength` UTF-16 units, between two characters.
 */
export function cleanLine(text: string, maxLength: number): string {
  // Cut first: nobody makes us scan a megabyte for a name.
  const line = text
    .slice(0, maxLength * 4)
    .replace(unsafe, ' ')
    .replace(/\s+/gu, ' ')
    .trim();
  if (line.length <= maxLength) return line;
  const cut = line.slice(0, maxLength);
  return (cut.isWellFormed() ? cut : cut.slice(0, -1)).trimEnd();
}

/** Whether `cleanLine` would leave the characters of a text as they are. */
export function isCleanLine(text: string): boolean {
  return text.search(unsafe) === -1;
}
