import type { Person } from '@countersign/directory';
import {
  checkDocument,
  SYNC_ITEM_DEFAULTS,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { withApprovedPhones } from './approved-phones.ts';
import { effectOf, riskOf } from './decide.ts';
import { goneUser, keptName, withReleasedName } from './gone-user.ts';
import { mergePerson, usernamesFor, type Merge } from './merge-person.ts';
import { phoneIdOf } from './merge-phones.ts';

const directory = { id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b' };
const newId = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a00';
const object = '7f1c9a52-0000-4000-8000-000000000001';
const start = new Date('2026-03-01T12:00:00.000Z');
const later = new Date('2026-03-02T12:00:00.000Z');

const item: SyncItem = {
  ...SYNC_ITEM_DEFAULTS,
  id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4aff',
  name: 'staff',
  scope: { kind: 'domain' },
  method: 'text',
  language: 'nl',
  phones: [
    { kind: 'mobile', use: 'primary' },
    { kind: 'business', use: 'primary' },
    { kind: 'home', use: 'backup' },
  ],
  update: { ...SYNC_ITEM_DEFAULTS.update, language: 'never' },
};

const alice: Person = {
  object,
  dn: 'CN=Alice,OU=Staff,DC=corp,DC=test',
  dnKey: 'cn=alice,ou=staff,dc=corp,dc=test',
  usernames: ['alice', 'alice@corp.test'],
  names: ['Alice', 'CORP\\alice', 'alice@corp.test'],
  mails: ['Alice@Corp.test'],
  firstName: 'Alice',
  lastName: 'Éluard',
  displayName: 'Alice Éluard',
  description: null,
  group: null,
  language: null,
  phones: { mobile: { number: '+31612345678', extension: null } },
  isDisabled: false,
  dropped: [],
};

function merged(
  user: UserDocument | null,
  person: Partial<Person> = {},
  more: Partial<Merge> & { item?: Partial<SyncItem> } = {},
): UserDocument {
  const { item: differs, ...rest } = more;
  const treatment = { ...item, ...differs };
  const whole = { ...alice, ...person };
  const [username = 'nobody'] = usernamesFor(user, whole, treatment);
  const merge = { directory, person: whole, itemId: item.id, treatment, username, newId };
  const document = mergePerson(user, { ...merge, now: user ? later : start, ...rest });
  checkDocument('user', document);
  return document;
}

const known = merged(null);
const mobileId = phoneIdOf(directory, object, 'primary');
const phoneOf = (user: UserDocument, id = mobileId) =>
  user.authenticators.find((one) => one.id === id);
const verified: UserDocument = {
  ...known,
  authenticators: known.authenticators.map((one) => ({
    ...one,
    verifiedAt: start.toISOString(),
  })) as never,
};

describe('a person of a directory', () => {
  it('becomes a user as the sync item says', () => {
    expect(known).toEqual({
      id: newId,
      username: 'alice',
      displayName: 'Alice Éluard',
      firstName: 'Alice',
      lastName: 'Éluard',
      email: 'Alice@Corp.test',
      enabled: true,
      blocked: null,
      unlockedAt: null,
      method: 'text',
      authenticators: [
        {
          type: 'phone',
          id: mobileId,
          number: '+31612345678',
          use: 'primary',
          vouchedBy: 'sync item staff',
          verifiedAt: null,
          createdAt: start.toISOString(),
        },
      ],
      directory: {
        id: directory.id,
        object,
        dn: alice.dn,
        item: item.id,
        names: ['corp\\alice', 'alice@corp.test'],
        mails: ['alice@corp.test'],
      },
      createdAt: start.toISOString(),
      updatedAt: start.toISOString(),
    });
  });

  it('is the very same document where nothing differs', () => {
    expect(merged(known)).toBe(known);
    expect(merged(known, { usernames: ['ALICE'] }).username).toBe('ALICE');
  });

  it('changes what is always the directory’s, and nothing that is set at the import alone', () => {
    const moved = merged(
      known,
      {
        displayName: null,
        lastName: 'Breton',
        mails: [],
        description: 'on leave',
        group: 'Desk',
        language: 'de',
        dn: 'CN=Alice,OU=Away,DC=corp,DC=test',
      },
      { item: { method: 'call' } },
    );
    expect(moved).toMatchObject({
      lastName: 'Breton',
      description: 'on leave',
      group: 'Desk',
      method: 'text',
      directory: { dn: 'CN=Alice,OU=Away,DC=corp,DC=test', mails: [] },
      updatedAt: later.toISOString(),
    });
    expect(Object.keys(moved)).not.toContain('displayName');
    expect(Object.keys(moved)).not.toContain('email');
    expect(Object.keys(moved)).not.toContain('language');
    const update = { ...item.update, language: 'always', method: 'always' } as const;
    expect(merged(known, {}, { item: { update, method: null } })).toMatchObject({ language: 'nl' });
    expect(merged(known, {}, { item: { update, method: null } }).method).toBeUndefined();
    expect(merged(known, { language: 'de' }, { item: { update } }).language).toBe('de');
  });

  it('leaves alone what an administrator has to say, and never exempts, blocks or gives a PIN', () => {
    const edited: UserDocument = {
      ...known,
      modes: { text: 'otp' },
      unlockedAt: start.toISOString(),
      blocked: {
        reason: 'lost',
        at: start.toISOString(),
        by: 'admin',
        expiresAt: later.toISOString(),
      },
    };
    const { blocked, modes, unlockedAt } = merged(edited, { lastName: 'Breton' });
    expect({ blocked, modes, unlockedAt }).toEqual({
      blocked: edited.blocked,
      modes: edited.modes,
      unlockedAt: edited.unlockedAt,
    });
  });
});

describe('the username', () => {
  const always = { update: item.update };

  it('stays as long as it is one of the person’s', () => {
    const second = { ...known, username: 'alice@corp.test' };
    expect(usernamesFor(second, alice, always)).toEqual(['alice@corp.test']);
  });

  it('follows a renaming, by the first name that is free, and stays where none is', () => {
    const person = { usernames: ['alice2', 'alice2@corp.test'] };
    expect(usernamesFor(known, person, always)).toEqual(['alice2', 'alice2@corp.test', 'alice']);
    const update = { ...item.update, username: 'import' } as const;
    expect(usernamesFor(known, person, { update })).toEqual(['alice']);
    expect(usernamesFor(null, person, { update })).toEqual(person.usernames);
  });

  it('is never what no user can be called', () => {
    expect(usernamesFor(null, { usernames: ['a\u202eb', 'x'.repeat(300), 'ok'] }, always)).toEqual([
      'ok',
    ]);
  });
});

describe('who may sign in', () => {
  const off = merged(known, { isDisabled: true });

  it('is disabled with the directory, and enabled again with it', () => {
    expect(off).toMatchObject({ enabled: false, directory: { isDisabledBySync: true } });
    expect(riskOf(known, off)).toBe('disable');
    expect(merged(off, { isDisabled: true })).toBe(off);
    const on = merged(off);
    expect(on.enabled).toBe(true);
    expect(on.directory?.isDisabledBySync).toBeUndefined();
  });

  it('is not enabled where an administrator disabled', () => {
    const byHand = { ...known, enabled: false };
    expect(merged(byHand)).toBe(byHand);
    const both = merged(byHand, { isDisabled: true });
    expect(both).toBe(byHand);
  });

  it('is as the item says, and a new user is disabled from the start', () => {
    expect(merged(known, {}, { item: { enabled: false } }).enabled).toBe(false);
    const fresh = merged(null, { isDisabled: true });
    expect(fresh).toMatchObject({ enabled: false, directory: { isDisabledBySync: true } });
    expect(riskOf(null, fresh)).toBeNull();
  });

  it('goes on while it waits for an approval, and all else is taken over', () => {
    const held = merged(known, { isDisabled: true, lastName: 'Breton' }, { isHeld: true });
    expect(held).toMatchObject({ enabled: true, lastName: 'Breton' });
    expect(riskOf(known, held)).toBeNull();
  });
});

describe('phones', () => {
  const other = { mobile: { number: '+31687654321', extension: null } };

  it('are one of each use, the first that the person has', () => {
    const both = {
      business: { number: '+31201234567', extension: '890' },
      home: { number: '+31207654321', extension: null },
    };
    expect(merged(null, { phones: both }).authenticators).toMatchObject([
      { number: '+31201234567', extension: '890', use: 'primary' },
      { number: '+31207654321', use: 'backup' },
    ]);
    const same = { ...alice.phones, home: alice.phones.mobile! };
    expect(merged(null, { phones: same }).authenticators).toHaveLength(1);
  });

  it('are vouched for as the item says, and a number of later only where it says always', () => {
    const changed = merged(known, { phones: other });
    expect(phoneOf(changed)).toMatchObject({ number: '+31687654321', vouchedBy: null });
    expect(riskOf(known, changed)).toBe('phone');
    const always = merged(known, { phones: other }, { item: { vouchForPhones: 'always' } });
    expect(phoneOf(always)).toMatchObject({ vouchedBy: 'sync item staff' });
    const never = merged(null, {}, { item: { vouchForPhones: 'never' } });
    expect(phoneOf(never)).toMatchObject({ vouchedBy: null });
    expect(riskOf(never, merged(never, { phones: other }))).toBeNull();
  });

  it('keep their number once they have verified, and another one waits until it is gone again', () => {
    const waiting = merged(verified, { phones: other });
    expect(waiting.authenticators).toEqual(verified.authenticators);
    const pending = { phone: mobileId, number: '+31687654321', seenAt: later.toISOString() };
    expect(waiting.directory?.pendingPhones).toEqual([pending]);
    expect(riskOf(verified, waiting)).toBeNull();
    expect(merged(waiting, { phones: other })).toBe(waiting);
    expect(merged(waiting).directory?.pendingPhones).toBeUndefined();
    expect(merged(waiting, { phones: {} }).authenticators).toEqual(verified.authenticators);
  });

  it('lose an approval with the number it was for', () => {
    const approved = { at: later.toISOString(), by: 'admin' };
    const [pending] = merged(verified, { phones: other }).directory!.pendingPhones!;
    const user = {
      ...verified,
      directory: { ...verified.directory!, pendingPhones: [{ ...pending!, approved }] },
    };
    expect(merged(user, { phones: other })).toBe(user);
    const third = { mobile: { number: '+31600000000', extension: null } };
    expect(merged(user, { phones: third }).directory?.pendingPhones).toEqual([
      { phone: mobileId, number: '+31600000000', seenAt: later.toISOString() },
    ]);
  });

  it('are replaced 24 hours after an approval, not before', () => {
    const approved = { at: later.toISOString(), by: 'admin' };
    const pending = {
      phone: mobileId,
      number: '+31687654321',
      seenAt: later.toISOString(),
      approved,
    };
    const user = { ...verified, directory: { ...verified.directory!, pendingPhones: [pending] } };
    const dayLater = later.getTime() + 24 * 3_600_000;
    expect(withApprovedPhones(user, new Date(dayLater - 1))).toBe(user);
    const replaced = withApprovedPhones(user, new Date(dayLater));
    expect(phoneOf(replaced)).toMatchObject({
      number: '+31687654321',
      vouchedBy: 'admin',
      verifiedAt: null,
    });
    expect(replaced.directory?.pendingPhones).toBeUndefined();
    checkDocument('user', replaced);
  });

  it('of others are not touched, and there are never more than four', () => {
    const byHand = (index: number, number: string) => ({
      type: 'phone' as const,
      id: `0190a1b2-c3d4-7e5f-8a9b-00000000000${index}`,
      number,
      use: 'backup' as const,
      vouchedBy: 'admin',
      verifiedAt: null,
      createdAt: start.toISOString(),
    });
    const four = [1, 2, 3, 4].map((index) => byHand(index, `+3161111111${index}`));
    expect(merged({ ...known, authenticators: four }).authenticators).toEqual(four);
    const twin = [byHand(1, '+31612345678')];
    expect(merged({ ...known, authenticators: twin }).authenticators).toEqual(twin);
    const none = merged(
      {
        ...known,
        authenticators: [
          ...known.authenticators,
          ...twin.map((one) => ({ ...one, number: '+31611111111' })),
        ],
      },
      { phones: {} },
    );
    expect(none.authenticators).toHaveLength(1);
  });

  it('of somebody who waits for an approval keep the number that is trusted', () => {
    expect(merged(known, { phones: other }, { isHeld: true })).toBe(known);
  });

  it('count as another phone where a trusted number is gone, or one comes to somebody who has a method', () => {
    const none = merged(known, { phones: {} });
    expect([none.authenticators, riskOf(known, none)]).toEqual([[], 'phone']);
    expect(merged(known, { phones: {} }, { isHeld: true })).toBe(known);

    const always = { item: { vouchForPhones: 'always' as const } };
    const backup = { ...alice.phones, home: other.mobile };
    expect(riskOf(verified, merged(verified, { phones: backup }))).toBeNull();
    const gained = merged(verified, { phones: backup }, always);
    expect([gained.authenticators.length, riskOf(verified, gained)]).toEqual([2, 'phone']);
    expect(merged(verified, { phones: backup }, { ...always, isHeld: true })).toBe(verified);
    expect(riskOf(none, merged(none, {}, always))).toBeNull();
  });

  it('stay as they are where they come with the import alone', () => {
    const update = { ...item.update, phones: 'import' } as const;
    expect(merged(known, { phones: other }, { item: { update } })).toBe(known);
    expect(merged(null, {}, { item: { update } }).authenticators).toHaveLength(1);
  });
});

describe('a user who is gone', () => {
  it.each([
    ['keep', { enabled: true }, 'kept', null],
    ['disable', { enabled: false, directory: { isDisabledBySync: true } }, 'disabled', 'disable'],
    ['remove', { enabled: true, removedAt: later.toISOString() }, 'removed', 'remove'],
  ] as const)('%s: comes back with all authenticators', (onRemoval, looks, effect, risk) => {
    const gone = goneUser(verified, onRemoval, later);
    checkDocument('user', gone);
    expect(gone).toMatchObject(looks);
    expect(gone.directory?.goneAt).toBe(later.toISOString());
    expect([effectOf(verified, gone), riskOf(verified, gone)]).toEqual([effect, risk]);
    expect(goneUser(gone, onRemoval, later)).toBe(gone);
    expect(merged(gone)).toEqual({ ...verified, updatedAt: later.toISOString() });
  });

  it('gives the name to another account of the directory, and never leaves the bounds of a name', () => {
    const gone = goneUser(known, 'keep', later);
    const released = withReleasedName(gone, later);
    expect(released.username).toBe('alice (kept, 7f1c9a52)');
    expect(released.directory).toMatchObject({ names: [], mails: [] });
    checkDocument('user', released);
    const long = { ...gone, username: '\ufdfa'.repeat(7) };
    expect(Buffer.byteLength(keptName(long).normalize('NFKC'))).toBeLessThanOrEqual(256);
    expect(merged(released).username).toBe('alice');
  });
});
