import { escapeAll } from './escape-all.ts';
import { formatLocalTime } from './format-time.ts';
import { formatTable } from './table.ts';

/** A user as the API tells of one. */
export type User = {
  id: string;
  username: string;
  displayName: string | null;
  /** An older node tells none of these. */
  firstName?: string | null;
  lastName?: string | null;
  description?: string | null;
  group?: string | null;
  directory?: UserDirectory | null;
  email: string | null;
  enabled: boolean;
  blocked: { reason: string; at: string; by: string; expiresAt: string } | null;
  /** An older node does not tell. */
  pendingStopFacts?: { id: string; reason: string; at: string; by: string; node: string }[];
  lockedUntil: string | null;
  /** An older node tells none of these. */
  method?: string | null;
  modes?: Record<string, string>;
  language?: string | null;
  pin?: { setAt: string; mustChange: boolean } | null;
  exempt?: { reason: string; by: string; until: string } | null;
  bypass?: { reason: string; by: string; expiresAt: string } | null;
  recoveryCodes?: number;
  enrolment?: { by: string; expiresAt: string } | null;
  authenticators: Authenticator[];
  createdAt: string;
  updatedAt: string;
  revision: number;
};

type UserDirectory = {
  id: string;
  name: string | null;
  item: { id: string; name: string | null } | null;
  dn: string;
  object: string;
  names: string[];
  mails: string[];
  isDisabledBySync: boolean;
  goneAt: string | null;
  pendingPhones: {
    phone: string;
    number: string;
    extension: string | null;
    seenAt: string;
    approved: { at: string; by: string } | null;
  }[];
};

export type Authenticator = {
  id: string;
  type: string;
  name: string | null;
  algorithm: string | null;
  digits: number | null;
  periodSeconds: number | null;
  serial?: string | null;
  awaitsActivation?: boolean;
  number?: string | null;
  extension?: string | null;
  use?: string | null;
  createdAt: string;
};

export const AUTHENTICATOR_HEADINGS = ['ID', 'TYPE', 'NAME', 'CODES', 'ENROLLED'];

export function describeUser(untrusted: User): string[] {
  const user = escapeAll(untrusted);
  const { blocked } = user;
  const facts = [
    ['username', user.username],
    ['id', user.id],
    ['name', user.displayName ?? '-'],
    ...givenNames(user),
    ['email', user.email ?? '-'],
    ...(user.description ? [['description', user.description]] : []),
    ...(user.group ? [['group', user.group]] : []),
    ...(user.directory ? describeDirectory(user.directory) : []),
    ['enabled', user.enabled ? 'yes' : 'no'],
    [
      'blocked',
      blocked === null
        ? 'no'
        : `until ${timeOf(blocked.expiresAt)} by ${blocked.by}: ${blocked.reason}`,
    ],
    ...(user.pendingStopFacts ?? []).map(({ at, by, node, reason }) => [
      'stop fact',
      `by ${by} on ${node} at ${timeOf(at)}, waits for the master: ${reason}`,
    ]),
    ['locked out', user.lockedUntil === null ? 'no' : `until ${timeOf(user.lockedUntil)}`],
    ...describeSignIn(user),
    ['changed', `${timeOf(user.updatedAt)} (revision ${user.revision})`],
  ];
  const lines = facts.map(([name = '', value = '']) => `${name.padEnd(14)}  ${value}`);
  if (user.authenticators.length === 0) return [...lines, '', 'no authenticators'];
  const table = formatTable(AUTHENTICATOR_HEADINGS, user.authenticators.map(describeAuthenticator));
  return [...lines, '', ...table];
}

function givenNames({ firstName, lastName }: User): string[][] {
  if (!firstName && !lastName) return [];
  return [['first, last', `${firstName ?? '-'}, ${lastName ?? '-'}`]];
}

function describeDirectory(directory: UserDirectory): string[][] {
  const { item, names, mails, goneAt, pendingPhones } = directory;
  const by = item ? `sync item ${item.name ?? item.id}` : 'imported by hand';
  const facts = [
    ['directory', `${directory.name ?? directory.id}, ${by}`],
    ['entry', `${directory.dn} (${directory.object})`],
    ['signs in as', [...names, ...mails].join(', ') || '-'],
  ];
  if (directory.isDisabledBySync) facts.push(['disabled', 'by the synchronisation']);
  if (goneAt) facts.push(['gone', `in no sync item since ${timeOf(goneAt)}`]);
  for (const { phone, number, extension, seenAt, approved } of pendingPhones) {
    const said = approved ? `approved by ${approved.by}` : 'waits for approval';
    const full = `${number}${extension ? ` ext. ${extension}` : ''}`;
    facts.push(['new number', `${full} for phone ${phone}, seen ${timeOf(seenAt)}, ${said}`]);
  }
  return facts;
}

function describeSignIn(user: User): string[][] {
  const { method, modes = {}, language, pin, exempt, bypass, recoveryCodes = 0, enrolment } = user;
  const ownModes = Object.entries(modes).map(([of, mode]) => `${of}=${mode}`);
  const signIn = [method ?? 'as usual', ...ownModes].join(', ');
  const facts = [
    ['signs in by', signIn],
    ['language', language ?? 'as usual'],
    ['PIN', pin ? `set ${timeOf(pin.setAt)}${pin.mustChange ? ', to be changed' : ''}` : 'none'],
    ['recovery codes', recoveryCodes === 0 ? 'none' : `${recoveryCodes} made`],
  ];
  if (exempt) {
    facts.push(['exempt', `until ${timeOf(exempt.until)} by ${exempt.by}: ${exempt.reason}`]);
  }
  if (bypass) {
    facts.push(['bypass', `until ${timeOf(bypass.expiresAt)} by ${bypass.by}: ${bypass.reason}`]);
  }
  if (enrolment) {
    facts.push(['may enrol', `until ${timeOf(enrolment.expiresAt)} by ${enrolment.by}`]);
  }
  return facts;
}

/** One row under AUTHENTICATOR_HEADINGS. */
export function describeAuthenticator(authenticator: Authenticator): string[] {
  const period =
    authenticator.periodSeconds === null ? '' : ` every ${authenticator.periodSeconds} s`;
  const { number, extension, use } = authenticator;
  const codes = number
    ? `${number}${extension ? ` ext. ${extension}` : ''} (${use})`
    : `${authenticator.digits} digits${period}, ${authenticator.algorithm}` +
      (authenticator.serial ? `, serial ${authenticator.serial}` : '') +
      (authenticator.awaitsActivation ? ', not activated' : '');
  return [
    authenticator.id,
    authenticator.type,
    authenticator.name ?? '-',
    codes,
    timeOf(authenticator.createdAt),
  ];
}

function timeOf(iso: string): string {
  const atMs = Date.parse(iso);
  // An administrator's lock has words instead of a time.
  return Number.isNaN(atMs) ? iso : formatLocalTime(atMs);
}
