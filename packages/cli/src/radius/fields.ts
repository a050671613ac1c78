import type { GivenFirstFactor, RadiusServerAddress } from '@countersign/verification';
import { CliError } from '../cli-error.ts';

/** Settings written as name=value. */
type Reader = (text: string, name: string) => unknown;

const asText: Reader = (text) => text;

const asList: Reader = (text) => (text === '' ? [] : text.split(',').map((each) => each.trim()));

const asFlag: Reader = (text, name) => {
  if (/^(true|on|yes)$/.test(text)) return true;
  if (/^(false|off|no)$/.test(text)) return false;
  throw usage(`${name}: true or false`);
};

const asCount: Reader = (text, name) => {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usage(`${name}: a whole number`);
};

const CLIENT_SETTINGS: Record<string, Reader> = {
  name: asText,
  application: asText,
  enabled: asFlag,
  addresses: asList,
  messageAuthenticator: asText,
  firstFactor: readFirstFactor,
  canChallenge: asFlag,
  codeLength: asCount,
  commaCode: asFlag,
  appendedCode: asFlag,
  callingStation: asText,
  isBalancer: asFlag,
  waitSeconds: asCount,
};

const TARGET_SETTINGS: Record<string, Reader> = {
  name: asText,
  servers: (text) => text.split(',').map((each) => readServer(each.trim())),
  messageAuthenticator: asText,
  timeoutMs: asCount,
  passAttributes: asList,
};

const SETTINGS = { client: CLIENT_SETTINGS, target: TARGET_SETTINGS };
type Kind = keyof typeof SETTINGS;

export function radiusSettingNames(kind: Kind): string {
  return Object.keys(SETTINGS[kind]).join(', ');
}

/** What name=value pairs say, as the API takes it. Throws CliError for what is no setting. */
export function readRadiusFields(kind: Kind, pairs: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    const read = Object.hasOwn(SETTINGS[kind], name) ? SETTINGS[kind][name] : undefined;
    if (!read) throw usage(explainUnknown(kind, name));
    if (at < 0) throw usage(`${name}: write it as ${name}=VALUE`);
    if (Object.hasOwn(fields, name)) throw usage(`${name} comes twice`);
    fields[name] = read(pair.slice(at + 1), name);
  }
  return fields;
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
  throw usage('the first factor: directory, directory:NAME,NAME, radius:TARGET or none');
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
  return `there is no setting ${name} of a RADIUS ${kind}: ${radiusSettingNames(kind)}`;
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
