import { describe, expect, it } from 'vitest';

import { directoryDefaults } from './defaults.ts';
import { dnKey } from './dn.ts';
import { guidBytes, guidText, personAttributes, readPerson } from './read-person.ts';
import type { Person } from './types.ts';

const ad = {
  ...directoryDefaults('active-directory'),
  type: 'active-directory' as const,
  domains: ['CORP', 'corp.test'],
  defaultCountry: 'NL',
};
const ldap = {
  ...directoryDefaults('ldap'),
  type: 'ldap' as const,
  domains: ['example.org'],
  defaultCountry: 'NL',
};
const guid = '00112233-4455-6677-8899-aabbccddeeff';
const uuid = 'ABCDEF01-4455-6677-8899-aabbccddeeff';

type Given = Record<string, string | Buffer | (string | Buffer)[]>;
const entry = (dn: string, given: Given) => ({
  dn,
  values: new Map(
    Object.entries(given).map(([name, value]) => [
      name.toLowerCase(),
      [value].flat().map((one) => Buffer.from(one as string)),
    ]),
  ),
});
const inAd = (given: Given = {}, dn = 'CN=Alice A,OU=Staff,DC=corp,DC=test', config = ad) =>
  readPerson(
    entry(dn, {
      objectGUID: guidBytes(guid) as Buffer,
      sAMAccountName: 'alice',
      userAccountControl: '512',
      ...given,
    }),
    config,
  );
const inLdap = (given: Given = {}, config = ldap) =>
  readPerson(
    entry('uid=alice,dc=example,dc=org', { entryUUID: uuid, uid: 'alice', ...given }),
    config,
  );
const taken = (person: ReturnType<typeof readPerson>): Person => {
  if ('refused' in person) throw new Error(person.refused);
  return person;
};
const why = (person: ReturnType<typeof readPerson>) =>
  'refused' in person ? person.refused : null;

it('a person of Active Directory has all that the mapping names', () => {
  const person = inAd({
    userPrincipalName: 'alice@corp.test',
    givenName: 'Alice',
    sn: ' Ångström ',
    displayName: 'Alice Ångström',
    mail: 'Alice.A@corp.test',
    description: 'Finance',
    department: 'Desk',
    preferredLanguage: 'nl-NL',
    telephoneNumber: '020 624 1111 x890',
    homePhone: '020 624 2222',
    mobile: '0612345678',
    pager: '0612345679',
    facsimileTelephoneNumber: '020 624 3333',
    ipPhone: '020 624 4444',
  });
  expect(person).toEqual({
    object: guid,
    dn: 'CN=Alice A,OU=Staff,DC=corp,DC=test',
    dnKey: dnKey('CN=Alice A,OU=Staff,DC=corp,DC=test'),
    usernames: ['alice@corp.test', 'alice'],
    names: ['alice', 'CORP\\alice', 'alice@corp.test', 'CN=Alice A,OU=Staff,DC=corp,DC=test'],
    mails: ['Alice.A@corp.test'],
    firstName: 'Alice',
    lastName: 'Ångström',
    displayName: 'Alice Ångström',
    description: 'Finance',
    group: 'Desk',
    language: 'nl',
    phones: {
      business: { number: '+31206241111', extension: '890' },
      home: { number: '+31206242222', extension: null },
      mobile: { number: '+31612345678', extension: null },
      pager: { number: '+31612345679', extension: null },
      fax: { number: '+31206243333', extension: null },
      ip: { number: '+31206244444', extension: null },
    },
    isDisabled: false,
    dropped: [],
  });
});

it('a person of OpenLDAP has the text of entryUUID, uid first, then the mail address', () => {
  const person = taken(inLdap({ mail: ['b@example.org', 'a@example.org'] }));
  expect(person.object).toBe(uuid.toLowerCase());
  expect(person.usernames).toEqual(['alice', 'a@example.org', 'alice@example.org']);
  // An address counts only where nobody has the name otherwise.
  expect(person.names).toEqual(['alice', 'alice@example.org', 'uid=alice,dc=example,dc=org']);
  expect(person.mails).toEqual(['a@example.org', 'b@example.org']);
});

describe('names', () => {
  it('the last candidate has the domain in it, the DNS name before that of Windows', () => {
    const last = (domains: string[]) =>
      taken(inAd({}, undefined, { ...ad, domains })).usernames.at(-1);
    expect(last(['CORP', 'corp.test', 'other.test'])).toBe('alice@corp.test');
    expect(last(['CORP'])).toBe('CORP\\alice');
    expect(last([])).toBe('alice');
    expect(last(['not a domain', 'a@b.c', 'x\\y', 'MORETHANFIFTEENLETTERS'])).toBe('alice');
  });

  it('are twelve at most, and the principal name and the DN are among them', () => {
    const domains = Array.from({ length: 20 }, (_, index) => `d${index}.test`);
    const person = taken(
      inAd({ userPrincipalName: 'alice@upn.test' }, undefined, { ...ad, domains }),
    );
    expect(person.names).toHaveLength(12);
    expect(person.names.slice(0, 2)).toEqual(['alice', 'alice@d0.test']);
    expect(person.names.slice(-2)).toEqual(['alice@upn.test', person.dn]);
  });

  it('a DN of more than 256 bytes is none of them', () => {
    const dn = `CN=${'é'.repeat(130)},DC=corp,DC=test`;
    const person = taken(inAd({}, dn));
    expect(person.dn).toBe(dn);
    expect(person.names).not.toContain(dn);
  });

  it('of several values the least counts, in whatever order they come', () => {
    for (const uid of [
      ['carol', 'alice', 'bob'],
      ['bob', 'carol', 'alice'],
    ]) {
      expect(taken(inLdap({ uid })).usernames[0]).toBe('alice');
    }
    expect(taken(inLdap({ uid: ['', ' ', '\u0007', Buffer.of(0xff), 'zed'] })).usernames[0]).toBe(
      'zed',
    );
  });

  it('a short name with @ or a backslash is not qualified again', () => {
    expect(taken(inLdap({ uid: 'EVIL\\alice' })).names[0]).toBe('EVIL\\alice');
    expect(taken(inLdap({ uid: 'EVIL\\alice' })).usernames).toEqual(['EVIL\\alice']);
    expect(taken(inLdap({ uid: 'a@b' })).usernames).toEqual(['a@b']);
  });
});

describe('values that cannot be used', () => {
  it.each([
    ['a control character', 'Al\u0000ice', 'control'],
    ['an escape sequence', '\u001b[31mred', 'control'],
    ['a bidi override', 'ecila\u202e', 'control'],
    ['a zero-width space', 'al\u200bice', 'control'],
    ['no text', Buffer.of(0xff, 0xfe, 0x00), 'not text'],
    ['257 bytes', 'a'.repeat(257), '256 bytes'],
    ['256 characters of two bytes', 'é'.repeat(256), '256 bytes'],
    ['100 kB', 'x'.repeat(100_000), '256 bytes'],
  ])('%s is left out and told', (_, value, expected) => {
    const person = taken(inAd({ displayName: value, description: 'kept' }));
    expect(person.displayName).toBeNull();
    expect(person.description).toBe('kept');
    expect(person.dropped).toEqual([
      { attribute: 'displayName', why: expect.stringContaining(expected) },
    ]);
  });

  it('empty ones are as if they were not there', () => {
    const person = taken(inAd({ displayName: '', mail: '  ', mobile: '', sn: [] }));
    expect(person).toMatchObject({ displayName: null, mails: [], phones: {}, dropped: [] });
  });

  it('thousands of large values are looked at without delay', () => {
    const huge = Array.from({ length: 2000 }, (_, index) => `${index}`.padEnd(5000, 'x'));
    const tookMs: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      const started = performance.now();
      expect(taken(inAd({ description: huge, mobile: huge })).dropped).toHaveLength(2);
      tookMs.push(performance.now() - started);
    }
    expect(Math.min(...tookMs)).toBeLessThan(500);
  });

  it('phones that are none are left out and told', () => {
    const person = taken(inAd({ mobile: '0900 1234567', pager: 'none', ipPhone: '4021' }));
    expect(person.phones).toEqual({});
    expect(person.dropped.map(({ attribute }) => attribute)).toEqual([
      'mobile',
      'pager',
      'ipPhone',
    ]);
  });

  it('mail addresses without a name or a domain are none', () => {
    expect(taken(inAd({ mail: ['alice', '@x', 'x@', 'a b@c', 'a@b@c'] })).mails).toEqual([]);
  });
});

it.each([
  ['nl', 'nl'],
  ['NL', 'nl'],
  ['nl-NL, en;q=0.8', 'nl'],
  ['en;q=0.5, nl', 'nl'],
  ['nl_BE', 'nl'],
  ['nld', null],
  ['Dutch', null],
  ['*', null],
  ['en;q=0', null],
  ['1043', null],
])('the language %s is %s', (written, language) => {
  const person = taken(inAd({ preferredLanguage: written }));
  expect(person.language).toBe(language);
  expect(person.dropped).toHaveLength(language === null ? 1 : 0);
});

describe('disabled accounts', () => {
  it.each([
    ['512', false],
    ['514', true],
    ['66050', true],
    ['66048', false],
    ['-2147483646', true],
  ])('userAccountControl %s: %s', (userAccountControl, expected) => {
    expect(taken(inAd({ userAccountControl, accountExpires: '1' })).isDisabled).toBe(expected);
  });

  it.each([
    [{ pwdAccountLockedTime: '000001010000Z' }, true],
    [{ pwdAccountLockedTime: '00000101000000Z' }, true],
    [{ pwdAccountLockedTime: '20261123000000Z' }, false],
    [{ nsAccountLock: 'TRUE' }, true],
    [{ nsAccountLock: 'false' }, false],
    [{ loginDisabled: 'TRUE' }, true],
    [{}, false],
  ])('%o: %s', (given, expected) => {
    expect(taken(inLdap(given)).isDisabled).toBe(expected);
  });

  it('an account of Active Directory that does not show whether it is disabled is refused', () => {
    for (const userAccountControl of [[], 'x', '']) {
      expect(why(inAd({ userAccountControl }))).toContain('userAccountControl');
    }
  });
});

describe('the unique id', () => {
  it('is written in the order of Microsoft', () => {
    const bytes = Buffer.from('33221100554477668899aabbccddeeff', 'hex');
    expect(guidText(bytes)).toBe(guid);
    expect(guidBytes(guid)).toEqual(bytes);
    expect(guidText(bytes.subarray(1))).toBeNull();
    expect(guidBytes('*)(uid=*')).toBeNull();
  });

  it.each([
    [Buffer.alloc(0)],
    [Buffer.alloc(17)],
    [[Buffer.alloc(16, 1), Buffer.alloc(16, 2)]],
    [[]],
    ['x'.repeat(100_000)],
  ])('missing, doubled or malformed refuses the person (%#)', (objectGUID) => {
    expect(why(inAd({ objectGUID }))).toContain('objectGUID');
  });

  it.each(['', 'a b', '../x', 'é', 'x'.repeat(65)])('as text cannot be %s', (entryUUID) => {
    expect(why(inLdap({ entryUUID }))).toContain('entryUUID');
  });
});

it.each([
  ['', 'DN'],
  ['nonsense', 'DN'],
  ['CN=a\u202e,DC=x', 'DN'],
  ['CN=\ufffd,DC=x', 'DN'],
  [`CN=${'a'.repeat(1100)},DC=x`, 'DN'],
])('a person with the DN %.30s is refused, and the reason is safe to show', (dn, expected) => {
  const person = inAd({}, dn);
  expect(why(person)).toContain(expected);
  expect(JSON.stringify(person)).not.toMatch(/[\u202e\ufffd]/);
});

it('a person without any username is refused', () => {
  expect(why(inAd({ sAMAccountName: '\u0007' }))).toContain('userPrincipalName or sAMAccountName');
});

it('whatever bytes an entry has, it is a person or refused', () => {
  let seed = 7;
  const next = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (let round = 0; round < 500; round++) {
    const given = Object.fromEntries(
      personAttributes(ad).map((name) => [
        name,
        Array.from({ length: next(3) }, () =>
          Buffer.from(Array.from({ length: next(40) }, () => next(256))),
        ),
      ]),
    );
    const person = inAd(given);
    expect('refused' in person || person.usernames.length > 0).toBe(true);
  }
});

it('only attributes of the mapping are asked for, each once', () => {
  const names = personAttributes(ldap);
  expect(names).toEqual(expect.arrayContaining(['entryUUID', 'uid', 'mail', 'nsAccountLock']));
  expect(names).not.toContain('memberOf');
  expect(new Set(names.map((name) => name.toLowerCase()))).toHaveLength(names.length);
});
