import { z } from 'zod';

const PROVIDERS_MAX = 10;
const TEXT_MAX_LENGTH = 32_768;
const SUMMARY_MAX_LENGTH = 500;

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

/** What is wrong with JSON as a list of providers of texts; null: nothing. It names fields, never values. */
export function checkProviderList(json: string): string | null {
  if (json.length > TEXT_MAX_LENGTH) return `has more than ${TEXT_MAX_LENGTH} characters`;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return 'is not JSON';
  }
  const parsed = providers.safeParse(value);
  if (parsed.success) return null;
  const [{ path, message }] = parsed.error.issues as [z.core.$ZodIssue];
  return `${path.join('.') || 'list'}: ${message}`;
}

/** Name, kind and host of each, at most 500 characters: no path, and nothing of its secrets. */
export function summariseTextProviders(json: string): string {
  const all = providers.parse(JSON.parse(json));
  const told = all.map(({ name, kind, url }) => `${name} (${kind}${atHost(url)})`).join(', ');
  return told.length > SUMMARY_MAX_LENGTH ? `${told.slice(0, SUMMARY_MAX_LENGTH - 1)}…` : told;
}

function atHost(url: string | undefined): string {
  return url === undefined ? '' : ` at ${new URL(url).host}`;
}
