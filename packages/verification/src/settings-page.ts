import type { Setting } from './setting.ts';
import { GROUP_TITLES, SETTINGS } from './settings-schema.ts';

const INTRODUCTION = `# Settings

Every setting of the cluster, made from \`packages/verification/src/settings-schema.ts\` by
\`npm run settings-docs\`: change it there.

- \`countersign settings list\` shows what is in force, \`settings describe NAME\` what a setting means,
  \`settings set NAME VALUE\` changes one, and \`settings reset NAME\` takes it back to its default. Over
  HTTP: \`GET\` and \`PATCH /api/v1/settings\`, with \`null\` for the default.
- They are replicated: a change goes through the master and is in force on every node as soon as it has
  applied it. Settings of one group can change together, in one request:
  \`settings set mail.host mail.example.org --and mail.port=465 --and mail.security=tls\`.
- A list is written with commas, and over HTTP as a list. A value that begins with \`@\` is read from the
  file that follows it.
- Where "own value" names the application, \`settings set NAME VALUE --application APPLICATION\` gives that
  application its own; where it names the user, a user may have one too. The user's goes before the
  application's, and that before the company's.
- **Secrets** come from a file, stdin or a prompt, never from the command line. They are stored
  encrypted, for the place they are sent to, and never shown: whoever changes one of the settings that say
  where a secret is sent has to give the secret again in the same request (\`secret_required\`), as with
  \`--and mail.password\`, which asks for it.
`;

/** docs/settings.md, whole. */
export function settingsPage(): string {
  const groups = Object.entries(GROUP_TITLES) as [keyof typeof SETTINGS, string][];
  const sections = groups.map(([id, title]) => {
    const rows = Object.entries<Setting>(SETTINGS[id]).map(([field, setting]) =>
      row([
        nameOf(id, field, setting),
        valueOf(setting),
        standardOf(setting),
        aboutOf(id, setting),
      ]),
    );
    const head = [row(['Setting', 'Value', 'Default', 'What it is']), row(['-', '-', '-', '-'])];
    return [`## ${title}\n`, ...head, ...rows, ''].join('\n');
  });
  return [INTRODUCTION, ...sections].join('\n');
}

function nameOf(id: string, field: string, setting: Setting): string {
  return `\`${id}.${field}${setting.kind === 'by application' ? '.NAME' : ''}\``;
}

function valueOf({ allowed, unit }: Setting): string {
  return unit === null ? allowed : `${allowed} (${unit})`;
}

function standardOf({ standard, kind }: Setting): string {
  if (kind === 'secret') return 'not set';
  if (kind === 'by application') return '-';
  const text = Array.isArray(standard) ? standard.join(', ') : String(standard);
  return text === '' ? 'empty' : `\`${text}\``;
}

function aboutOf(id: string, { about, overriddenBy, secret }: Setting): string {
  const own = overriddenBy.length > 0 ? ` Own value: ${overriddenBy.join(', ')}.` : '';
  if (!secret) return about + own;
  const places = secret.sentTo.map((field) => `\`${id}.${field}\``).join(', ');
  return `${about} **Secret**${places === '' ? '' : `, given again with ${places}`}.`;
}

function row(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}
