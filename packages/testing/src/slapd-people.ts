import { createHash, randomBytes } from 'node:crypto';

import { contentEntry, escapeDnValue, type LdifAttributes } from './ldif.ts';

/** Everybody's. */
export const slapdPersonPassword = 'Wachtwoord.1';

export interface SlapdPerson {
  dn: string;
  uid: string;
}

interface Member {
  uid: string;
  cn: string;
  /** What differs from an ordinary member; an empty list leaves an attribute out. */
  more?: LdifAttributes;
}

// The first of them all; what is asked for beyond them is alike.
const firstMembers: Member[] = [
  { uid: 'alice', cn: 'Alice Jansen' },
  { uid: 'bob', cn: 'Bob de Boer' },
  { uid: 'zoe', cn: 'Zoë Ångström' },
  { uid: 'jvries', cn: 'Vries, Jan + Zn' },
  { uid: 'eva', cn: 'Eva Extension', more: { telephoneNumber: '020-1234567 x890', mobile: [] } },
  { uid: 'lies', cn: 'Lies Locked', more: { pwdAccountLockedTime: '000001010000Z' } },
  { uid: 'mia', cn: 'Mia Mustchange', more: { pwdReset: 'TRUE' } },
  { uid: 'nora', cn: 'Nora Nothing', more: { mobile: [], telephoneNumber: [], mail: [] } },
  { uid: 'bart', cn: 'Bart Badphone', more: { mobile: '00' } },
  { uid: 'pieter', cn: 'Pieter Pager', more: { pager: '+31 6 5555 0001', homePhone: '+3120555' } },
];

const units = ['amsterdam', 'utrecht', 'delft', 'leiden', 'breda'];

/** What slapadd(8) loads: a tree of units, `count` people in them and groups in groups. */
export function writeSlapdTree(about: {
  suffix: string;
  count: number;
  reader: { name: string; password: string };
}): { people: SlapdPerson[]; ldif: string } {
  const { suffix, count, reader } = about;
  const dnOfUnit = (index: number) => `ou=${units[index % units.length]},ou=people,${suffix}`;
  const dnOfGroup = (cn: string) => `cn=${cn},ou=groups,${suffix}`;
  const members = Array.from({ length: count }, (_none, index) => {
    const member = firstMembers[index] ?? alike(index);
    // Somebody's DN holds what has to be escaped.
    const rdn = /[,+]/.test(member.cn) ? `cn=${escapeDnValue(member.cn)}` : `uid=${member.uid}`;
    return { ...member, dn: `${rdn},${dnOfUnit(index)}` };
  });
  const ofUids = (...uids: string[]) =>
    members.filter(({ uid }) => uids.includes(uid)).map(({ dn }) => dn);
  const groups = new Map([
    ['admins vpn', ofUids('alice', 'zoe', 'jvries')],
    ['vpn users', [dnOfGroup('admins vpn'), ...ofUids('bob', 'lies')]],
    ['circle a', [dnOfGroup('circle b'), ...ofUids('eva')]],
    ['circle b', [dnOfGroup('circle a'), ...ofUids('pieter')]],
    ['tenth', members.filter((_member, index) => index % 10 === 0).map(({ dn }) => dn)],
  ]);
  const memberOf = invert(groups, dnOfGroup);
  const addMemberOf = (dn: string) => ({ memberOf: memberOf.get(dn) ?? [] });

  // All in one second, however long it takes to load them.
  const madeAt = new Date().toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  const entry = (dn: string, attributes: LdifAttributes) =>
    contentEntry(dn, { ...attributes, createTimestamp: madeAt, modifyTimestamp: madeAt });
  const unit = (dn: string) => entry(dn, { objectClass: 'organizationalUnit' });
  const userPassword = hashPassword(slapdPersonPassword);
  const entries = [
    entry(suffix, {
      objectClass: ['organization', 'dcObject'],
      dc: /^dc=([^,]+)/i.exec(suffix)![1]!,
      o: 'Test',
    }),
    ...[`ou=services,${suffix}`, `ou=groups,${suffix}`, `ou=people,${suffix}`].map(unit),
    ...units.map((_unit, index) => unit(dnOfUnit(index))),
    entry(reader.name, {
      objectClass: ['organizationalRole', 'simpleSecurityObject'],
      userPassword: hashPassword(reader.password),
    }),
    entry(`cn=policy,ou=services,${suffix}`, {
      objectClass: ['organizationalRole', 'pwdPolicy'],
      pwdAttribute: 'userPassword',
      // Without it a locked account is not; nobody is locked for wrong passwords.
      pwdLockout: 'TRUE',
      pwdMaxFailure: '0',
      pwdMustChange: 'TRUE',
    }),
    ...members.map((member, index) =>
      entry(member.dn, {
        objectClass: 'inetOrgPerson',
        uid: member.uid,
        cn: member.cn,
        givenName: member.cn.split(' ')[0]!,
        sn: member.cn.split(' ').at(-1)!,
        mail: `${member.uid}@example.test`,
        mobile: `+31 6 ${10_000_000 + index}`,
        telephoneNumber: `+31 20 ${1_000_000 + index}`,
        userPassword,
        ...addMemberOf(member.dn),
        ...member.more,
      }),
    ),
    ...[...groups].map(([cn, member]) =>
      // The class demands a member.
      entry(dnOfGroup(cn), {
        objectClass: 'groupOfNames',
        member: member.length > 0 ? member : [reader.name],
        ...addMemberOf(dnOfGroup(cn)),
      }),
    ),
  ];
  return { people: members.map(({ dn, uid }) => ({ dn, uid })), ldif: entries.join('') };
}

function alike(index: number): Member {
  const uid = `person${String(index).padStart(6, '0')}`;
  return { uid, cn: `Person ${index}` };
}

// The overlay fills memberOf for changes, not for what slapadd loads.
function invert(
  groups: ReadonlyMap<string, string[]>,
  dnOfGroup: (cn: string) => string,
): Map<string, string[]> {
  const memberOf = new Map<string, string[]>();
  for (const [cn, members] of groups) {
    for (const dn of members) memberOf.set(dn, [...(memberOf.get(dn) ?? []), dnOfGroup(cn)]);
  }
  return memberOf;
}

function hashPassword(password: string): string {
  const salt = randomBytes(8);
  const hash = createHash('sha1').update(password).update(salt).digest();
  return `{SSHA}${Buffer.concat([hash, salt]).toString('base64')}`;
}
