import type { LogLayout } from '@countersign/cluster';
import { expect, it } from 'vitest';

import { chooseLog, joinLog, SILENT_MS, type Told } from './choose-log.ts';
import type { NotedLayout } from './layout-file.ts';

const layoutOf = (tag: string, after?: string): LogLayout => ({
  ...{ tag, servers: [], by: null, disasterAt: null },
  ...(after !== undefined && { after }),
});
const own: NotedLayout = {
  layout: layoutOf('old'),
  runsLogServer: true,
  leftTags: ['first'],
  incarnation: 2,
};
const told = (node: string, differs: Partial<Told> = {}): Told => ({
  ...{ node, layout: layoutOf('old'), incarnation: 2, left: [], storeMark: 0, at: 0 },
  ...differs,
});
/** Long after its start. */
const late = { startedAt: -10 * SILENT_MS, now: 0 };

it('goes at once to the log that its own was closed for, whatever others still say', () => {
  const next = told('node-2', { layout: layoutOf('new', 'old') });
  const about = { startedAt: 0, now: 0 };
  expect(chooseLog(own, [told('node-1'), next], about)).toBe(next);
});

it('stays as long as a node says that it lives there', () => {
  const forced = told('node-2', { layout: layoutOf('forced'), incarnation: 3, left: ['old'] });
  expect(chooseLog(own, [told('node-1'), forced], late)).toBeNull();
  const silent = told('node-1', { at: -SILENT_MS });
  expect(chooseLog(own, [silent, forced], late)).toBe(forced);
});

it('gives nodes that live there time to say so', () => {
  const forced = told('node-2', { layout: layoutOf('forced'), incarnation: 3, left: ['old'] });
  expect(chooseLog(own, [forced], { startedAt: 1 - SILENT_MS, now: 0 })).toBeNull();
});

it('leaves a log that a node has left, or of which a later incarnation is there, and no other', () => {
  const unknown = told('node-2', { layout: layoutOf('unknown'), incarnation: 2 });
  expect(chooseLog(own, [unknown], late)).toBeNull();
  expect(chooseLog(own, [{ ...unknown, incarnation: 3 }], late)).toMatchObject({ incarnation: 3 });
  expect(chooseLog(own, [{ ...unknown, left: ['old'] }], late)).not.toBeNull();
});

it('never goes back to servers among which it had a store', () => {
  const before = told('node-2', {
    layout: layoutOf('first', 'old'),
    incarnation: 9,
    left: ['old'],
  });
  expect(chooseLog(own, [before], late)).toBeNull();
});

it('runs no log server in a set where nodes know a store of its own that is gone', () => {
  const server = { name: 'w', host: '192.0.2.3', clientPort: 1, routePort: 2 };
  const layout = { ...layoutOf('new', 'old'), servers: [server] };
  const join = (storeMark: number, hasStore: boolean) =>
    joinLog(own, told('node-2', { layout, storeMark }), { name: 'w', hasStore });
  expect(join(0, false)).toMatchObject({ runsLogServer: true, leftTags: ['first', 'old'] });
  expect(join(7, true)).toMatchObject({ runsLogServer: true, isOlderCopy: false });
  const older = { runsLogServer: false, leftTags: ['first', 'old', 'new'], isOlderCopy: true };
  expect(join(7, false)).toMatchObject(older);
});
