import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type { Language } from './situations.ts';

const folder = join(import.meta.dirname, 'languages');
const files = readdirSync(folder).filter((name) => /^[a-z]{2,3}(-[A-Za-z]{2,4})?\.ts$/.test(name));

/** Every file of `languages/`, by its code: a language is added by adding its file. */
export const languages: ReadonlyMap<string, Language> = new Map(
  await Promise.all(
    files.sort().map(async (file) => {
      const url = pathToFileURL(join(folder, file)).href;
      const { language } = (await import(/* @vite-ignore */ url)) as { language: Language };
      return [language.code, language] as const;
    }),
  ),
);

const fallback = languages.get('en') as Language;

/** The best of a person's languages that there is: `nl-BE` finds `nl`; English where none is. */
export function chooseLanguage(wanted: readonly (string | undefined)[]): Language {
  for (const code of wanted) {
    if (code === undefined) continue;
    const found = languages.get(code) ?? languages.get(code.toLowerCase().split('-')[0] ?? '');
    if (found) return found;
  }
  return fallback;
}
