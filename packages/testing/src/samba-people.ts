import { addEntry, addValues, escapeDnValue, type LdifAttributes } from './ldif.ts';

/** `none` has the reader only; `many` is `staff` and 2,500 more. */
export type SambaPeople = 'none' | 'staff' | 'many';

export const sambaBaseDn = 'DC=corp,DC=test';

/** Of everybody that has a password. */
export const sambaPersonPassword = 'Wachtwoord.1';

/** An ordinary account without special rights. */
export const sambaReader = {
  dn: `CN=Countersign Reader,OU=Services,${sambaBaseDn}`,
  name: 'reader@corp.test',
  password: 'Leesrecht.2026',
};

/** Of the 2,500 of `many`; passwords are what takes the time (18 ms each). */
export const manyWithPassword = 50;
export const manyCount = 2_500;
const manyUnits = 10;
const manyGroups = 5;

interface StaffMember {
  cn: string;
  account: string;
  unit: keyof typeof units;
  /** What differs from an ordinary member; an empty list leaves an attribute out. */
  more?: LdifAttributes;
}

const units = {
  staff: `OU=Staff,${sambaBaseDn}`,
  amsterdam: `OU=Amsterdam,OU=Staff,${sambaBaseDn}`,
  board: `OU=Board,OU=Amsterdam,OU=Staff,${sambaBaseDn}`,
  utrecht: `OU=Utrecht,OU=Staff,${sambaBaseDn}`,
  services: `OU=Services,${sambaBaseDn}`,
  groups: `OU=Groups,${sambaBaseDn}`,
};

const accountDisabled = String(512 + 2);
const passwordNotRequired = String(512 + 32);

const staff: StaffMember[] = [
  { cn: 'Alice Jansen', account: 'alice', unit: 'amsterdam' },
  { cn: 'Bob de Boer', account: 'bob', unit: 'amsterdam' },
  { cn: 'Zoë Ångström', account: 'zoe', unit: 'amsterdam' },
  { cn: 'Øyvind Nærø', account: 'øyvind', unit: 'amsterdam', more: { mail: 'oyvind@corp.test' } },
  { cn: 'Vries, Jan + Zn', account: 'jvries', unit: 'amsterdam' },
  {
    cn: 'Eva Extension',
    account: 'eva',
    unit: 'amsterdam',
    more: { telephoneNumber: '020-1234567 x890', mobile: [], homePhone: '+31 20 765 4321' },
  },
  {
    cn: 'Daan Disabled',
    account: 'daan',
    unit: 'amsterdam',
    more: { userAccountControl: accountDisabled },
  },
  { cn: 'Mia Mustchange', account: 'mia', unit: 'amsterdam', more: { pwdLastSet: '0' } },
  { cn: 'Chris Chief', account: 'chris', unit: 'board' },
  { cn: 'Fien Finance', account: 'fien', unit: 'board' },
  {
    cn: 'Xander Expired',
    account: 'xander',
    unit: 'utrecht',
    // 2019-04-18 in 100 ns since 1601.
    more: { accountExpires: '132000000000000000' },
  },
  {
    cn: 'Ursula Principal',
    account: 'ursula',
    unit: 'utrecht',
    more: { userPrincipalName: 'u.principal@other.example' },
  },
  { cn: 'Nico Noprincipal', account: 'nico', unit: 'utrecht', more: { userPrincipalName: [] } },
  { cn: 'Bart Badphone', account: 'bart', unit: 'utrecht', more: { mobile: 'ask the desk' } },
  { cn: 'Nora Nothing', account: 'nora', unit: 'utrecht', more: { mobile: [], mail: [] } },
  {
    cn: 'Pieter Pager',
    account: 'pieter',
    unit: 'utrecht',
    more: {
      pager: '+31 6 5555 0001',
      facsimileTelephoneNumber: '+31 20 555 0002',
      ipPhone: '+31 20 555 0003',
      preferredLanguage: 'nl-NL',
      description: 'has every kind of phone',
    },
  },
  { cn: '李小龍', account: 'lixl', unit: 'utrecht', more: { givenName: '小龍', sn: '李' } },
  ...['Gijs', 'Hanna', 'Ivo', 'Julia', 'Kees', 'Lotte'].map((first): StaffMember => ({
    cn: `${first} Gracht`,
    account: first.toLowerCase(),
    unit: 'amsterdam',
  })),
  ...['Olga', 'Quinten', 'Rosa', 'Sem', 'Tess', 'Victor', 'Wout'].map((first): StaffMember => ({
    cn: `${first} Dom`,
    account: first.toLowerCase(),
    unit: 'utrecht',
  })),
];

/** Somebody of `staff`: their DN, their sAMAccountName and their user principal name. */
export interface SambaStaffMember {
  dn: string;
  account: string;
  userPrincipalName: string | null;
}

export const sambaStaff: SambaStaffMember[] = staff.map((member) => ({
  dn: dnOf(member),
  account: member.account,
  userPrincipalName: principalOf(member),
}));

function dnOf({ cn, unit }: StaffMember): string {
  return `CN=${escapeDnValue(cn)},${units[unit]}`;
}

function principalOf({ account, more }: StaffMember): string | null {
  const own = more?.['userPrincipalName'];
  if (own === undefined) return `${account}@corp.test`;
  return typeof own === 'string' ? own : null;
}

/** Everything above what provisioning makes, as changes for ldbmodify(1). */
export function writeSambaPeople(people: SambaPeople): string {
  return [
    addUnit(units.services),
    writePerson(sambaReader.dn, {
      sAMAccountName: 'reader',
      userPrincipalName: sambaReader.name,
      unicodePwd: encodePassword(sambaReader.password),
    }),
    ...(people === 'none' ? [] : writeStaff()),
    ...(people === 'many' ? writeMany() : []),
  ].join('');
}

function writeStaff(): string[] {
  return [
    ...[units.staff, units.amsterdam, units.board, units.utrecht, units.groups].map(addUnit),
    ...staff.map((member, index) => writePerson(dnOf(member), staffAttributes(member, index))),
    writeGroup('Admins VPN', ['alice', 'zoe', 'jvries'].map(dnOfAccount)),
    writeGroup('VPN Users', [dnOfGroup('Admins VPN'), dnOfAccount('bob'), dnOfAccount('daan')]),
    writeGroup('Circle A', [dnOfAccount('gijs')]),
    writeGroup('Circle B', [dnOfGroup('Circle A'), dnOfAccount('hanna')]),
    addValues(dnOfGroup('Circle A'), 'member', [dnOfGroup('Circle B')]),
    writeGroup('Nobody', []),
  ];
}

function staffAttributes(member: StaffMember, index: number): LdifAttributes {
  const [first = '', ...rest] = member.cn.split(' ');
  return {
    sAMAccountName: member.account,
    userPrincipalName: `${member.account}@corp.test`,
    givenName: first.replace(',', ''),
    sn: rest.join(' ') || first,
    displayName: member.cn,
    mail: `${member.account}@corp.test`,
    mobile: `+31 6 1000 ${String(1_000 + index)}`,
    unicodePwd: encodePassword(sambaPersonPassword),
    ...member.more,
  };
}

function dnOfAccount(account: string): string {
  return dnOf(staff.find((member) => member.account === account)!);
}

function dnOfGroup(cn: string): string {
  return `CN=${cn},${units.groups}`;
}

function* writeMany(): Generator<string> {
  let unit = sambaBaseDn;
  const dns: string[] = [];
  for (let index = 0; index < manyCount; index += 1) {
    // Each unit is in the one before it.
    if (index % (manyCount / manyUnits) === 0) {
      unit = `OU=Many ${index / (manyCount / manyUnits)},${unit}`;
      yield addUnit(unit);
    }
    const account = `many${String(index).padStart(4, '0')}`;
    const dn = `CN=${account},${unit}`;
    dns.push(dn);
    const hasPassword = index % (manyCount / manyWithPassword) === 0;
    yield writePerson(dn, {
      sAMAccountName: account,
      userPrincipalName: `${account}@corp.test`,
      givenName: 'Many',
      sn: `Person ${index}`,
      displayName: `Many Person ${index}`,
      mail: `${account}@corp.test`,
      mobile: `+31 6 2000 ${1_000 + index}`,
      ...(hasPassword
        ? { unicodePwd: encodePassword(sambaPersonPassword) }
        : { userAccountControl: passwordNotRequired }),
    });
  }
  for (let group = 0; group < manyGroups; group += 1) {
    yield writeGroup(
      `Many ${group}`,
      dns.filter((_dn, index) => index % manyGroups === group),
    );
  }
}

function addUnit(dn: string): string {
  return addEntry(dn, { objectClass: 'organizationalUnit' });
}

function writePerson(dn: string, attributes: LdifAttributes): string {
  return addEntry(dn, { objectClass: 'user', userAccountControl: '512', ...attributes });
}

function writeGroup(cn: string, member: string[]): string {
  return addEntry(dnOfGroup(cn), { objectClass: 'group', sAMAccountName: cn, member });
}

// [MS-ADTS] 3.1.1.3.1.5.1: in quotes, UTF-16.
function encodePassword(password: string): Buffer {
  return Buffer.from(`"${password}"`, 'utf16le');
}
