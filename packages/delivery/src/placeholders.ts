// The predecessor's way of writing them: <$code$>.
const placeholder = /<\$([^<>$]{0,64})\$>/g;

/** The names that a template uses, each once. */
export function listPlaceholders(template: string): string[] {
  return [...new Set([...template.matchAll(placeholder)].map(([, name = '']) => name))];
}

/** What is wrong with a template's placeholders, for whoever sets it; [] where nothing is. */
export function checkPlaceholders(template: string, known: readonly string[]): string[] {
  const problems = listPlaceholders(template)
    .filter((name) => !known.includes(name))
    .map((name) => `<$${name}$> is unknown here; known are ${known.map(write).join(' ')}`);
  if (/<\$|\$>/.test(template.replace(placeholder, ''))) {
    problems.push('a <$ without its $>, or a $> without its <$');
  }
  return problems;
}

/**
 * Each placeholder becomes its value as `encode` writes it. Values are not looked at again, so
 * that no value can name another. Throws TemplateError for a placeholder without a value.
 */
export function fillPlaceholders(
  template: string,
  values: Readonly<Record<string, string>>,
  encode: (value: string) => string = (value) => value,
): string {
  return template.replace(placeholder, (_whole, name: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) throw new TemplateError(`no value for ${write(name)}`);
    return encode(value);
  });
}

/** A template and its values do not fit: a fault in settings or in the caller. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

const write = (name: string) => `<$${name}$>`;
