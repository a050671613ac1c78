import { describe, expect, it } from 'vitest';
import {
  administratorDocument,
  checkNewPassword,
  isLastOwner,
  ROLES,
  type AdministratorDocument,
} from './administrator.ts';
import { API_SCOPES } from './documents.ts';
import { hasRight, RIGHTS, rightsOf } from './roles.ts';

const AT = '2026-03-01T12:00:00.000Z';
const invitation = { codeHash: 'a'.repeat(64), at: AT, by: 'init', expiresAt: AT };

function administrator(differs: Partial<AdministratorDocument> = {}): AdministratorDocument {
  return {
    id: crypto.randomUUID(),
    username: 'olive',
    roles: ['owner'],
    disabled: false,
    invitation,
    unlockedAt: null,
    createdAt: AT,
    updatedAt: AT,
    ...differs,
  };
}

const credentials: AdministratorDocument['credentials'] = {
  password: { salt: 'A'.repeat(22) + '==', hash: 'A'.repeat(43) + '=' },
  totp: {
    id: crypto.randomUUID(),
    algorithm: 'SHA1',
    digits: 6,
    periodSeconds: 30,
    sealedSecret: 'AAAA',
    usedUpTo: 1,
  },
  since: AT,
};

describe('roles', () => {
  it('an owner has every right but the local socket’s', () => {
    const rights = rightsOf(['owner']);
    expect(API_SCOPES.filter((scope) => !rights.includes(scope))).toEqual([]);
    expect(RIGHTS.filter((right) => !rights.includes(right))).toEqual(['socket']);
    for (const role of ROLES) expect(rightsOf([role])).not.toContain('socket');
  });

  it('a help desk can write nothing but what helps, and an auditor nothing at all', () => {
    const writes = (role: (typeof ROLES)[number]) =>
      rightsOf([role]).filter((right) => !right.endsWith(':read'));
    expect(writes('helpdesk')).toEqual(['users:help']);
    expect(writes('auditor')).toEqual([]);
    expect(rightsOf(['administrator'])).not.toContain('administrators:read');
    expect(rightsOf(['administrator'])).not.toContain('api-keys:write');
  });

  it('add up, and one of several wanted rights is enough', () => {
    const both = new Set(rightsOf(['helpdesk', 'auditor']));
    expect(both).toEqual(new Set([...rightsOf(['helpdesk']), ...rightsOf(['auditor'])]));
    expect(hasRight(both, ['users:write', 'users:help'])).toBe(true);
    expect(hasRight(both, 'users:write')).toBe(false);
    expect(hasRight(both, [])).toBe(false);
  });
});

describe('a password', () => {
  it.each([
    ['elevenchars', 'at least 12'],
    ['x'.repeat(257), 'at most 256'],
    ['ababababababab', 'different'],
    ['olive-olive-', 'not the username'],
    ['OliveOLIVE1!', 'not the username'],
  ])('%s is refused', (password, why) => {
    expect(checkNewPassword(password, 'Olive')).toContain(why);
  });

  it('may be long, in any script, and contain the name', () => {
    expect(checkNewPassword('olive went to market', 'olive')).toBeNull();
    expect(checkNewPassword('пароль по-русски', 'olive')).toBeNull();
    expect(checkNewPassword('twelve chars', 'olive')).toBeNull();
  });
});

it('the last owner is the last who may act, or while none may the last who is invited', () => {
  const [first, second] = [administrator(), administrator()];
  expect(isLastOwner([first], first.id)).toBe(true);
  expect(isLastOwner([first, second], first.id)).toBe(false);
  const active = administrator({ credentials });
  expect(isLastOwner([first, active], active.id)).toBe(true);
  expect(isLastOwner([first, active], first.id)).toBe(false);
  const disabled = administrator({ credentials, disabled: true });
  const auditor = administrator({ credentials, roles: ['auditor'] });
  expect(isLastOwner([active, disabled, auditor], active.id)).toBe(true);
});

it('a document without roles, with a role twice, or that nobody can ever use is none', () => {
  const isValid = (document: object) => administratorDocument.safeParse(document).success;
  expect(isValid(administrator())).toBe(true);
  expect(isValid(administrator({ credentials, invitation: undefined }))).toBe(true);
  expect(isValid(administrator({ roles: [] }))).toBe(false);
  expect(isValid(administrator({ roles: ['owner', 'owner'] }))).toBe(false);
  expect(isValid(administrator({ invitation: undefined }))).toBe(false);
  expect(isValid({ ...administrator(), password: 'plain' })).toBe(false);
});
