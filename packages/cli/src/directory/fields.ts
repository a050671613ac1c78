import { readFileSync, statSync } from 'node:fs';
import { CliError } from '../cli-error.ts';
import { readSecret } from '../read-input.ts';

type Kind = 'text' | 'text?' | 'list' | 'flag' | 'count' | 'file?';

/** Every setting of a directory by its dotted name; `?`: nothing behind the = takes it away. */
export const DIRECTORY_SETTINGS: Record<string, Kind> = {
  name: 'text',
  domains: 'list',
  servers: 'list',
  startTls: 'flag',
  'certificates.authorities': 'file?',
  'certificates.pinned': 'list',
  'certificates.serverName': 'text?',
  account: 'text?',
  baseDn: 'text',
  'filters.container': 'text',
  'filters.group': 'text',
  'filters.user': 'text',
  'attributes.uniqueId': 'text',
  'attributes.uniqueIdType': 'text',
  'attributes.usernames': 'list',
  'attributes.shortName': 'text?',
  'attributes.firstName': 'text?',
  'attributes.lastName': 'text?',
  'attributes.displayName': 'text?',
  'attributes.mail': 'text?',
  'attributes.description': 'text?',
  'attributes.language': 'text?',
  'attributes.group': 'text?',
  'attributes.phones.business': 'text?',
  'attributes.phones.home': 'text?',
  'attributes.phones.mobile': 'text?',
  'attributes.phones.pager': 'text?',
  'attributes.phones.fax': 'text?',
  'attributes.phones.ip': 'text?',
  'attributes.phones.custom': 'text?',
  'attributes.extension': 'text?',
  defaultCountry: 'text',
  connectMs: 'count',
  answerMs: 'count',
  pageSize: 'count',
  peopleMax: 'count',
  'sync.enabled': 'flag',
  'sync.intervalMinutes': 'count',
  'sync.changes': 'text',
  'sync.fullHours': 'count',
};

const FILE_MAX_BYTES = 64 * 1024;

/** Settings written as name=value, as the API takes them. Throws CliError for what is none. */
export function readFields(pairs: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    const kind = Object.hasOwn(DIRECTORY_SETTINGS, name) ? DIRECTORY_SETTINGS[name] : undefined;
    if (kind === undefined) throw usage(explainUnknown(name));
    if (at < 0) throw usage(`${name}: write it as ${name}=VALUE`);
    const value = readValue(name, kind, pair.slice(at + 1));
    if (name === 'account') put(fields, name, value === null ? null : { name: value });
    else put(fields, name, value);
  }
  return fields;
}

/** The settings of a directory as the API shows it, by dotted names, as {@link readFields} reads them. */
export function listFields(directory: Record<string, unknown>): [string, string][] {
  return Object.entries(DIRECTORY_SETTINGS).map(([name, kind]) => {
    const value = name
      .split('.')
      .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null)?.[key], directory);
    if (name === 'account') return [name, (value as { name: string } | null)?.name ?? ''];
    if (kind === 'file?') return [name, value === null ? '' : 'set'];
    return [name, textOf(value)];
  });
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/** A password from the first line of a file, of stdin where that is -, or asked for. At most 1 KiB. */
export async function readPassword(file: string | undefined, what: string): Promise<string> {
  if (file === undefined || file === '-') return readSecret(what);
  const [line = ''] = readTextFile(file, 4096).split(/\r?\n/, 1);
  if (line !== '') return line;
  throw usage(`${file} holds no ${what}`);
}

export function readTextFile(file: string, maxBytes = FILE_MAX_BYTES): string {
  try {
    if (statSync(file).size > maxBytes) throw new Error('it is too large');
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`cannot read ${file}: ${why}`, { exitCode: 2, cause });
  }
}

/** SHA-256 of a certificate as tools print it: with colons, in any case. */
export function readPin(text: string): string {
  const hex = text
    .replace(/^sha256[/:=]?/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  throw usage('--pin: the SHA-256 of a certificate has 64 hex digits');
}

function readValue(name: string, kind: Kind, text: string): unknown {
  if (text === '' && kind.endsWith('?')) return null;
  if (kind === 'list') {
    const all = text === '' ? [] : text.split(',').map((each) => each.trim());
    return name === 'certificates.pinned' ? all.map(readPin) : all;
  }
  if (kind === 'flag') {
    if (/^(true|on|yes)$/.test(text)) return true;
    if (/^(false|off|no)$/.test(text)) return false;
    throw usage(`${name}: true or false`);
  }
  if (kind === 'count') {
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw usage(`${name}: a whole number`);
  }
  if (kind === 'file?') return readTextFile(text.replace(/^@/, ''));
  return text;
}

function put(fields: Record<string, unknown>, name: string, value: unknown): void {
  const keys = name.split('.');
  const last = keys.pop()!;
  let inner = fields;
  for (const key of keys) inner = (inner[key] ??= {}) as Record<string, unknown>;
  if (Object.hasOwn(inner, last)) throw usage(`${name} comes twice`);
  inner[last] = value;
}

function explainUnknown(name: string): string {
  if (/password/i.test(name)) return 'a password comes from --password-file FILE, or - for stdin';
  return `there is no setting ${name} of a directory: see countersign directory set --help`;
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
