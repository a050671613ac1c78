import { parseDocument } from 'yaml';

/**
 * The one document of a YAML 1.2 text, in plain values. Throws Error, in one line that repeats nothing of the text
 * around the place: it may be a password.
 */
export function parseYaml(text: string): unknown {
  const document = parseDocument(text);
  const [error] = document.errors;
  // Below the first line it draws the place.
  if (error) throw new Error(error.message.split('\n', 1)[0]!.replace(/:$/, ''));
  // A few lines of aliases of aliases would fill the memory.
  return document.toJS({ maxAliasCount: 0 });
}
