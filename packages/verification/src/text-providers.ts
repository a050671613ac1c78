import { z } from 'zod';

const PROVIDERS_MAX = 10;
const TEXT_MAX_LENGTH = 32_768;

// Only what is shown of them; whoever sends through them checks the rest.
const providers = z
  .array(
    z.looseObject({
      kind: z.string().regex(/^[a-z0-9-]{1,32}$/),
      name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/),
      url: z
        .url({ protocol: /^https?$/ })
        .max(300)
        .optional(),
    }),
  )
  .max(PROVIDERS_MAX);

export type TextProvider = z.infer<typeof providers>[number];

/**
 * Providers of text messages as the setting `text.providers` holds them, in the order in which they
 * are tried; null for what is none.
 */
export function readTextProviders(json: string): TextProvider[] | null {
  if (json.length > TEXT_MAX_LENGTH) return null;
  try {
    const parsed = providers.safeParse(JSON.parse(json));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** Name, kind and host of each: no path, and nothing of its secrets. */
export function summariseTextProviders(json: string): string {
  const all = readTextProviders(json) ?? [];
  return all.map(({ name, kind, url }) => `${name} (${kind}${atHost(url)})`).join(', ');
}

function atHost(url: string | undefined): string {
  return url === undefined ? '' : ` at ${new URL(url).host}`;
}
