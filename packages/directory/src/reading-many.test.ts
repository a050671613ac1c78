import {
  addEntry,
  addValues,
  hasSamba,
  hasSlapd,
  startTestSamba,
  startTestSlapd,
  type TestSamba,
} from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readingOf, readPages, sambaConfig, slapdConfig } from './testing/open-for-test.ts';
import { readChanges } from './read-changes.ts';
import { readMembers } from './read-members.ts';
import { readByObjects } from './read-people.ts';
import type { Reading } from './reading.ts';

describe.skipIf(!hasSamba)('an Active Directory of 2,500 people and more (Samba)', () => {
  let samba: TestSamba;
  let reading: Reading;
  beforeAll(async () => {
    samba = await startTestSamba({ people: 'many' });
    reading = readingOf(sambaConfig(samba));
  }, 300_000);
  afterAll(async () => await samba?.stop());

  it('all are read, in pages of no more than was asked for, and found again by their objects', async () => {
    const pages = await readPages(reading);
    expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(500);
    const people = pages.flat();
    const objects = new Set(people.map(({ object }) => object));
    expect(objects.size).toBe(people.length);
    expect(people.filter(({ names }) => names[0]?.startsWith('many'))).toHaveLength(2500);
    expect((await readByObjects(reading, [...objects])).size).toBe(objects.size);
  }, 30_000);

  it('a group of more than 1,500 is whole, also as part of another', async () => {
    const people = (await readPages(reading)).flat();
    const many = people.filter(({ names }) => names[0]?.startsWith('many')).slice(0, 1600);
    const group = (cn: string) => `CN=${cn},OU=Groups,${samba.baseDn}`;
    await samba.modify(
      addEntry(group('Large'), { objectClass: 'group', sAMAccountName: 'Large' }) +
        addValues(
          group('Large'),
          'member',
          many.map(({ dn }) => dn),
        ) +
        addEntry(group('Outer'), {
          objectClass: 'group',
          sAMAccountName: 'Outer',
          member: group('Large'),
        }),
    );
    const keys = new Set(many.map(({ dnKey }) => dnKey));
    expect(await readMembers(reading, group('Outer'))).toEqual(keys);
  }, 60_000);

  it('that nothing changed is found within a second', async () => {
    const place = await readChanges(reading, null);
    if (place.kind !== 'changes') throw new Error(place.why);
    const tookMs: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      const started = performance.now();
      const changes = await readChanges(reading, place.cursor);
      tookMs.push(performance.now() - started);
      expect(changes).toMatchObject({ changed: [], gone: [], haveGroupsChanged: false });
    }
    expect(Math.min(...tookMs)).toBeLessThan(1000);
  });
});

describe.skipIf(!hasSlapd)('an OpenLDAP of more people than are read as changes', () => {
  it('that were all made in one second is read in full once more, and not for ever', async () => {
    const slapd = await startTestSlapd({ people: 20_100, tls: false });
    try {
      const reading = readingOf(slapdConfig(slapd));
      const first = await readChanges(reading, null);
      if (first.kind !== 'changes') throw new Error(first.why);
      const [newest] = (first.cursor as { since: string }).since.split('/');
      const minuteAgo = Math.floor(Date.now() / 1000) - 60;
      const since = `${newest}/${minuteAgo}`;
      const again = await readChanges(reading, { kind: 'timestamps', since });
      expect(again).toMatchObject({
        kind: 'full needed',
        cursor: { kind: 'timestamps', since: `${newest}/0` },
      });
      const settled = again.kind === 'full needed' ? again.cursor! : null;
      expect(await readChanges(reading, settled)).toMatchObject({ kind: 'changes', changed: [] });
    } finally {
      await slapd.stop();
    }
  }, 60_000);
});
