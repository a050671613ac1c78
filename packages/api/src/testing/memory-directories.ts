import { randomUUID } from 'node:crypto';
import {
  SYNC_ITEM_DEFAULTS,
  usernameKey,
  type DirectoryDocument,
  type DirectoryFields,
  type ItemEdit,
  type NewDirectory,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import type {
  DirectoryPorts,
  DirectoryTestReport,
  NamedObject,
  PersonPreview,
  SignInCheck,
  StoredDirectory,
} from '../ports.ts';

/** Directories in memory: what is read of them stands in public fields. Its one right password is `right`. */
export class MemoryDirectories implements DirectoryPorts {
  stored: StoredDirectory[] = [];
  report: DirectoryTestReport = goodReport();
  containers: NamedObject[] = [{ dn: 'OU=Staff,DC=corp,DC=test', name: 'Staff' }];
  groups: NamedObject[] = [{ dn: 'CN=VPN,DC=corp,DC=test', name: 'VPN' }];
  people: PersonPreview[] = [];
  pendingPhones: UserDocument[] = [];
  /** What `directory.status` tells; the last one again and again. */
  statuses: Record<string, unknown>[] = [{ running: null, nextAt: null, lastDryRun: null }];
  /** What a synchronisation does. */
  afterSync: () => void = () => undefined;
  tested: (DirectoryDocument | NewDirectory)[] = [];
  searches: { text?: string; under?: string; limit: number }[] = [];

  async list(): Promise<StoredDirectory[]> {
    return this.stored;
  }

  async test(which: DirectoryDocument | NewDirectory): Promise<DirectoryTestReport> {
    this.tested.push(which);
    return this.report;
  }

  async listContainers(_directory: DirectoryDocument, under: string | null) {
    return { containers: under === null ? this.containers : [], isMore: false };
  }

  async listGroups(_directory: DirectoryDocument, text: string) {
    const key = text.toLowerCase();
    const groups = this.groups.filter(({ name }) => name.toLowerCase().includes(key));
    return { groups, isMore: false };
  }

  async previewPeople(
    _directory: DirectoryDocument,
    search: { text?: string; under?: string; limit: number },
  ) {
    this.searches.push(search);
    return {
      people: this.people.slice(0, search.limit),
      isMore: this.people.length > search.limit,
    };
  }

  async checkSignIn(
    _directory: DirectoryDocument,
    { username, password }: { username: string; password: string },
  ): Promise<SignInCheck> {
    if (password !== 'right') return { outcome: 'refused', reason: 'wrong_password' };
    return { outcome: 'accepted', object: 'o-1', dn: `CN=${username},DC=corp,DC=test`, user: null };
  }

  async listPendingPhones(limit: number): Promise<UserDocument[]> {
    return this.pendingPhones.slice(0, limit);
  }

  /** The result of a command; of those that the master's job serves, what the fields say. */
  execute(name: string, args: Record<string, unknown>): Record<string, unknown> {
    if (name === 'directory.add') return this.#add(args.directory as NewDirectory);
    if (name === 'directory.sync') {
      this.afterSync();
      this.afterSync = () => undefined;
      return { started: true };
    }
    if (name === 'directory.status') {
      return this.statuses.length > 1 ? this.statuses.shift()! : this.statuses[0]!;
    }
    if (name === 'directory.import') {
      const results = (args.objects as string[]).map((object) => {
        const person = this.people.find((one) => one.object === object);
        if (!person) return { object, username: null, outcome: 'refused', detail: 'not there' };
        return { object, username: person.username, outcome: 'added' };
      });
      return { results };
    }
    return this.#change(name, args);
  }

  #add(given: NewDirectory): Record<string, unknown> {
    const document = merged(directoryFixture({ account: null }), given);
    this.stored = [...this.stored, { document, sync: null }];
    return { id: document.id };
  }

  #change(name: string, args: Record<string, unknown>): Record<string, unknown> {
    const key = usernameKey(String(args.name));
    const found = this.stored.find(({ document }) => usernameKey(document.name) === key);
    if (!found) return {};
    const { id } = found.document;
    const others = this.stored.filter((each) => each !== found);
    if (name === 'directory.remove') this.stored = others;
    if (name === 'directory.set') {
      const document = merged(found.document, args.changes as DirectoryFields);
      this.stored = [...others, { ...found, document }];
    }
    if (name === 'directory.set-items') {
      const edited = editItems(found.document.items, args.edit as ItemEdit);
      this.stored = [...others, { ...found, document: { ...found.document, items: edited.items } }];
      return { id, item: edited.item };
    }
    return { id, keptUsers: 0 };
  }
}

function merged(before: DirectoryDocument, given: DirectoryFields): DirectoryDocument {
  const { account, certificates, filters, attributes, sync, ...rest } = given;
  const phones = { ...before.attributes.phones, ...attributes?.phones };
  const name = account?.name ?? before.account?.name ?? '';
  return {
    ...before,
    ...rest,
    certificates: { ...before.certificates, ...certificates },
    filters: { ...before.filters, ...filters },
    attributes: { ...before.attributes, ...attributes, phones },
    sync: { ...before.sync, ...sync },
    ...(account !== undefined && { account: account && { name, sealedPassword: 'c2VhbGVk' } }),
  };
}

/** Places are left to the master: an item that is added or moved stands first. */
function editItems(items: SyncItem[], edit: ItemEdit): { items: SyncItem[]; item: string } {
  if (edit.do === 'add') {
    const { phones = [...SYNC_ITEM_DEFAULTS.phones], update, ...rest } = edit.item;
    const id = randomUUID();
    const all = { ...SYNC_ITEM_DEFAULTS.update, ...update };
    const item: SyncItem = { ...SYNC_ITEM_DEFAULTS, ...rest, id, phones, update: all };
    return { items: [item, ...items], item: id };
  }
  const found = items.find(({ name, id }) => name === edit.item || id === edit.item);
  if (!found) return { items, item: edit.item };
  const others = items.filter((each) => each !== found);
  if (edit.do === 'remove') return { items: others, item: found.id };
  if (edit.do === 'move') return { items: [found, ...others], item: found.id };
  const update = { ...found.update, ...edit.changes.update };
  return { items: [{ ...found, ...edit.changes, update }, ...others], item: found.id };
}

function goodReport(): DirectoryTestReport {
  const line = 'Active Directory answers: 12 people, 3 groups, 4 containers';
  return {
    ok: true,
    fault: null,
    line,
    servers: [{ url: 'ldaps://dc1.corp.test', ok: true, line: 'answers' }],
    seen: {
      server: 'Active Directory (Samba)',
      namingContexts: ['DC=corp,DC=test'],
      people: 12,
      groups: 3,
      containers: 4,
      changes: 'DirSync',
    },
  };
}

/** A whole directory, as the log has it. */
export function directoryFixture(fields: Partial<DirectoryDocument> = {}): DirectoryDocument {
  const at = '2026-05-01T12:00:00.000Z';
  return {
    id: randomUUID(),
    name: 'corp',
    type: 'active-directory',
    domains: ['CORP', 'corp.test'],
    servers: ['ldaps://dc1.corp.test'],
    startTls: false,
    certificates: { authorities: null, pinned: [], serverName: null },
    account: { name: 'CN=reader,DC=corp,DC=test', sealedPassword: 'c2VhbGVk' },
    baseDn: 'DC=corp,DC=test',
    filters: { container: '(ou=*)', group: '(objectClass=group)', user: '(objectClass=user)' },
    attributes: {
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
    },
    defaultCountry: 'NL',
    connectMs: 5000,
    answerMs: 30_000,
    pageSize: 500,
    peopleMax: 100_000,
    sync: { enabled: false, intervalMinutes: 5, changes: 'auto', fullHours: 24 },
    items: [],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}
