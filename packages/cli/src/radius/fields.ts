import {
  NO_NETWORK,
  plainNetwork,
  RADIUS_CLIENT_DEFAULTS,
  RADIUS_TARGET_DEFAULTS,
  type GivenFirstFactor,
  type RadiusServerAddress,
} from '@countersign/verification';
import { CliError } from '../cli-error.ts';
import { formatTable } from '../table.ts';

/** Settings written as name=value. */
type Reader = (text: string, name: string) => unknown;

const asText: Reader = (text) => text;

const asList: Reader = (text) => (text === '' ? [] : text.split(',').map((each) => each.trim()));

export function readFlag(text: string, name: string): boolean {
  if (/^(true|on|yes)$/.test(text)) return true;
  if (/^(false|off|no)$/.test(text)) return false;
  throw usage(`${name}: true or false`);
}

const asCount: Reader = (text, name) => {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usage(`${name}: a whole number`);
};

const asCodeLength: Reader = (text, name) => {
  if (/^[678]$/.test(text)) return Number(text);
  throw usage(`${name}: 6, 7 or 8`);
};

/** Addresses and networks, with commas between them. Throws CliError for what is neither. */
export function readNetworks(text: string): string[] {
  const all = text.split(',').map((each) => each.trim());
  const wrong = all.find((each) => plainNetwork(each) === null);
  if (wrong === undefined) return all;
  throw usage(`${JSON.stringify(wrong)} ${NO_NETWORK}`);
}

type SettingRow = { read: Reader; says: string };

const FIRST_FACTORS = 'directory, directory:NAME,NAME, radius:TARGET or none';

const CLIENT_SETTINGS: Record<string, SettingRow> = {
  name: { read: asText, says: 'another name' },
  application: { read: asText, says: 'whose settings go' },
  enabled: { read: readFlag, says: 'false: as if there were no such client' },
  addresses: { read: readNetworks, says: 'where it asks from, with commas' },
  messageAuthenticator: { read: asText, says: 'require, observe or off' },
  firstFactor: { read: readFirstFactor, says: FIRST_FACTORS },
  canChallenge: { read: readFlag, says: 'whether it can show a question' },
  codeLength: { read: asCodeLength, says: 'digits of a code behind a password' },
  commaCode: { read: readFlag, says: 'password,123456 is a password and a code' },
  appendedCode: { read: readFlag, says: 'password123456 is one too; needs canChallenge=false' },
  callingStation: { read: asText, says: 'Calling-Station-Id: ip, text or ignore' },
  isBalancer: {
    read: readFlag,
    says: 'many devices send through its address; requests name their own',
  },
  waitSeconds: { read: asCount, says: 'how long people are waited for, 5 to 120' },
};

const TARGET_SETTINGS: Record<string, SettingRow> = {
  name: { read: asText, says: 'another name' },
  servers: {
    read: (text) => text.split(',').map((each) => readServer(each.trim())),
    says: 'host:port, asked in this order',
  },
  messageAuthenticator: {
    read: asText,
    says: 'require or off: of its answers; off refuses MSCHAPv2',
  },
  timeoutMs: { read: asCount, says: 'of a sign-in over all servers' },
  passAttributes: { read: asList, says: 'of its accepts, what goes on to the client' },
};

const SETTINGS = { client: CLIENT_SETTINGS, target: TARGET_SETTINGS };
type Kind = keyof typeof SETTINGS;

const DEFAULTS = {
  client: {
    ...RADIUS_CLIENT_DEFAULTS,
    firstFactor: showFirstFactor(RADIUS_CLIENT_DEFAULTS.firstFactor),
  },
  target: RADIUS_TARGET_DEFAULTS,
};

// Longer ones get a line of their own.
const SHORT = 20;

/** For `--help`: each setting, what it takes, and what it is where nothing is said. */
export function describeRadiusSettings(kind: Kind): string {
  const usual = new Map<string, unknown>(Object.entries(DEFAULTS[kind]));
  const rows = Object.entries(SETTINGS[kind]).flatMap(([name, { says }]) => {
    const value = usual.has(name) ? String(usual.get(name)) : '-';
    if (value.length <= SHORT) return [[`  ${name}`, says, value]];
    return [
      [`  ${name}`, says],
      ['', `by default ${value}`],
    ];
  });
  return formatTable(['Settings:', '', 'default'], rows).join('\n');
}

/** What name=value pairs say, as the API takes it. Throws CliError for what is no setting. */
export function readRadiusFields(kind: Kind, pairs: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    const read = Object.hasOwn(SETTINGS[kind], name) ? SETTINGS[kind][name]?.read : undefined;
    if (!read) throw usage(explainUnknown(kind, name));
    if (at < 0) throw usage(`${name}: write it as ${name}=VALUE`);
    if (Object.hasOwn(fields, name)) throw usage(`${name} comes twice`);
    fields[name] = read(pair.slice(at + 1), name);
  }
  return fields;
}

/** As {@link readRadiusFields}, but for those that have an argument or an option of their own. */
export function readOtherFields(
  kind: Kind,
  pairs: readonly string[],
  given: readonly string[],
): Record<string, unknown> {
  const fields = readRadiusFields(kind, pairs);
  const twice = given.find((name) => Object.hasOwn(fields, name));
  if (twice === undefined) return fields;
  throw usage(`--set ${twice}: it is given without --set already`);
}

/** directory, directory:corp,lab, none or radius:nps. */
export function readFirstFactor(text: string): GivenFirstFactor {
  const [kind = '', ...rest] = text.split(':');
  const names = rest.join(':');
  if (text === 'none') return { kind: 'none' };
  if (text === 'directory') return { kind: 'directory', directories: null };
  if (kind === 'directory' && names !== '') {
    return { kind: 'directory', directories: names.split(',').map((each) => each.trim()) };
  }
  if (kind === 'radius' && names !== '') return { kind: 'radius', target: names };
  throw usage(`the first factor: ${FIRST_FACTORS}`);
}

/** As {@link readFirstFactor} reads it. */
export function showFirstFactor(factor: GivenFirstFactor): string {
  if (factor.kind === 'none') return 'none';
  if (factor.kind === 'radius') return `radius:${factor.target}`;
  return factor.directories === null ? 'directory' : `directory:${factor.directories.join(',')}`;
}

const PORT = 1812;

/** host, host:port, an IPv6 address, or [IPv6 address]:port; without a port 1812. */
export function readServer(text: string): RadiusServerAddress {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = /^([^:]+):(\d{1,5})$/.exec(text);
  const [, host = text, port = String(PORT)] = bracketed ?? plain ?? [];
  return { host, port: Number(port) };
}

export function showServer({ host, port }: RadiusServerAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** ATTRIBUTE=VALUE for everybody, GROUP:ATTRIBUTE=VALUE for the users of a group. */
export function readReply(text: string): {
  group: string | null;
  attribute: string;
  value: string;
} {
  const found = /^(?:([^:=]+):)?([A-Za-z0-9/-]+)=(.+)$/s.exec(text);
  if (!found) throw usage(`--reply ${text}: like Class=staff, sales:Filter-Id=vpn or 9/1=TEXT`);
  const [, group, attribute, value] = found;
  return { group: group ?? null, attribute: attribute!, value: value! };
}

function explainUnknown(kind: Kind, name: string): string {
  if (name === 'secret') return 'a secret comes from --secret-file FILE, or - for stdin';
  if (kind === 'client' && name === 'replies') return 'replies: give each with --reply';
  return `there is no setting ${name} of a RADIUS ${kind}: ${Object.keys(SETTINGS[kind]).join(', ')}`;
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
