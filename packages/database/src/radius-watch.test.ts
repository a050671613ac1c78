import { expect, it } from 'vitest';
import { isRadiusWatched, tellRadiusWatchers, watchRadius } from './radius-watch.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { waitFor } from './testing/wait-for.ts';

const postgres = useTestPostgres();

it('what is told reaches all who watch this database, in order, and nobody later', async () => {
  const [db, other] = [
    postgres.open(await postgres.emptyDatabase()),
    postgres.open(await postgres.emptyDatabase()),
  ];
  expect(await isRadiusWatched(db)).toBe(false);
  await tellRadiusWatchers(db, ['before anybody listens']);
  const heard: string[][] = [[], [], []];
  const watching = [
    await watchRadius(db, (note) => heard[0]!.push(note)),
    await watchRadius(db, (note) => heard[1]!.push(note)),
    await watchRadius(other, (note) => heard[2]!.push(note)),
  ];
  expect(await isRadiusWatched(db)).toBe(true);
  const notes = ['one', "'); drop table x; --", 'ü'.repeat(3999)];
  await tellRadiusWatchers(db, notes);
  await waitFor('the notes', () => heard[0]!.length === 3 && heard[1]!.length === 3);
  expect(heard).toEqual([notes, notes, []]);
  await watching[0]!.end();
  expect(await isRadiusWatched(db)).toBe(true);
  await watching[1]!.end();
  await waitFor('the lock to go', async () => !(await isRadiusWatched(db)));
  expect(await isRadiusWatched(other)).toBe(true);
  await waitFor('the end to be told', () => watching[1]!.lost.aborted);
  await watching[2]!.end();
});
