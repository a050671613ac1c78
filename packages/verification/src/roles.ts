import type { Role } from './administrator.ts';
import { API_SCOPES, type ApiScope } from './documents.ts';

/** Rights that only people have: no API key can be given one. `socket`: nobody but the node's own 0600 socket. */
const PEOPLE_RIGHTS = [
  'users:help',
  'administrators:read',
  'administrators:write',
  'socket',
] as const;
export const RIGHTS = [...API_SCOPES, ...PEOPLE_RIGHTS] as const;
export type Right = ApiScope | (typeof PEOPLE_RIGHTS)[number];

/** What each role may do; several roles of one person add up. docs/security.md has the same as a table. */
const ROLE_RIGHTS: Record<Role, readonly Right[]> = {
  owner: RIGHTS.filter((right) => right !== 'socket'),
  administrator: [
    'users:read',
    'users:write',
    'users:help',
    'settings:read',
    'settings:write',
    'cluster:read',
    'events:read',
    'reasons:read',
  ],
  helpdesk: ['users:read', 'users:help', 'cluster:read', 'events:read'],
  auditor: ['users:read', 'settings:read', 'cluster:read', 'events:read', 'administrators:read'],
};

export function rightsOf(roles: readonly Role[]): Right[] {
  return RIGHTS.filter((right) => roles.some((role) => ROLE_RIGHTS[role].includes(right)));
}

/** Whether one of the wanted rights is there. */
export function hasRight(
  own: { has(right: Right): boolean },
  wanted: Right | readonly Right[],
): boolean {
  return [wanted].flat().some((right) => own.has(right));
}
