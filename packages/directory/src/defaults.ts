import type { AttributeMap, DirectoryConfig } from './types.ts';

/** What only an operator can know of a directory. */
type Asked = 'name' | 'type' | 'domains' | 'servers' | 'baseDn' | 'account' | 'defaultCountry';
export type DirectoryDefaults = Omit<DirectoryConfig, Asked>;

const ACTIVE_DIRECTORY: AttributeMap = {
  uniqueId: 'objectGUID',
  uniqueIdType: 'guid',
  usernames: ['userPrincipalName', 'sAMAccountName'],
  shortName: 'sAMAccountName',
  firstName: 'givenName',
  lastName: 'sn',
  displayName: 'displayName',
  mail: 'mail',
  description: 'description',
  language: 'preferredLanguage',
  group: 'department',
  phones: {
    business: 'telephoneNumber',
    home: 'homePhone',
    mobile: 'mobile',
    pager: 'pager',
    fax: 'facsimileTelephoneNumber',
    ip: 'ipPhone',
    custom: null,
  },
  extension: null,
};

const LDAP: AttributeMap = {
  ...ACTIVE_DIRECTORY,
  uniqueId: 'entryUUID',
  uniqueIdType: 'text',
  usernames: ['uid', 'mail'],
  shortName: 'uid',
  phones: { ...ACTIVE_DIRECTORY.phones, ip: null },
};

const FILTERS: Record<DirectoryConfig['type'], DirectoryConfig['filters']> = {
  'active-directory': {
    container:
      '(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=builtinDomain)(objectClass=domainDNS))',
    // Bit 0x80000000 of groupType: a security group, not a list for mail.
    group: '(&(objectClass=group)(groupType:1.2.840.113556.1.4.803:=2147483648))',
    // Neither computers nor managed service accounts, nor the accounts of trusts (0x800).
    user: '(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2048)))',
  },
  ldap: {
    container:
      '(|(objectClass=organizationalUnit)(objectClass=organization)(objectClass=dcObject)(objectClass=domain))',
    group: '(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))',
    user: '(|(objectClass=inetOrgPerson)(objectClass=posixAccount))',
  },
};

/** All that works unless an operator says otherwise, for Active Directory or OpenLDAP. */
export function directoryDefaults(type: DirectoryConfig['type']): DirectoryDefaults {
  return structuredClone({
    startTls: false,
    certificates: { authorities: null, pinned: [], serverName: null },
    filters: FILTERS[type],
    attributes: type === 'active-directory' ? ACTIVE_DIRECTORY : LDAP,
    connectMs: 5_000,
    answerMs: 10_000,
    pageSize: 500,
    peopleMax: 200_000,
    sync: { changes: 'auto' },
  });
}
