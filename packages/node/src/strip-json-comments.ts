/**
 * Blanks out line and block comments outside strings. Line breaks and every other character keep
 * their place, so that a position in a parser's complaint is right for the original text.
 */
export function stripJsonComments(text: string): string {
  return text.replace(stringOrComment, (match) =>
    match.startsWith('"') ? match : match.replace(/[^\r\n]/g, ' '),
  );
}

const stringOrComment = /"(?:\\.|[^"\\\r\n])*"?|\/\/[^\r\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;
