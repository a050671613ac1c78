import { beforeEach, expect, it } from 'vitest';
import { applyChanges, initApplied, readSettings, type Database } from './index.ts';
import {
  exampleApplication,
  exampleRadiusClient,
  exampleRadiusTarget,
  firstIncarnation,
  removeChange,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
let db: Database;

beforeEach(async () => {
  db = postgres.open(await postgres.migratedDatabase());
  await initApplied(db, firstIncarnation);
});

it('settings come with RADIUS clients and targets by name, and a change of one is a new revision', async () => {
  expect(await readSettings(db)).toMatchObject({
    radiusClients: [],
    radiusTargets: [],
    revision: 0,
  });
  const [vpn, gateway] = [exampleRadiusClient('vpn'), exampleRadiusClient('gateway')];
  const nps = exampleRadiusTarget('nps');
  await applyChanges(db, [
    setChange(1, { kind: 'application', document: exampleApplication('vpn') }),
    setChange(2, { kind: 'radius-client', document: vpn }),
    setChange(3, { kind: 'radius-client', document: gateway }),
    setChange(4, { kind: 'radius-target', document: nps }),
  ]);
  const read = await readSettings(db);
  expect(read).toMatchObject({ radiusClients: [gateway, vpn], radiusTargets: [nps], revision: 4 });
  await applyChanges(db, [
    setChange(5, { kind: 'radius-client', document: { ...vpn, enabled: false } }),
  ]);
  expect((await readSettings(db)).radiusClients[1]).toMatchObject({ name: 'vpn', enabled: false });
  await applyChanges(db, [
    removeChange(6, 'radius-client', vpn.id),
    removeChange(7, 'radius-target', nps.id),
  ]);
  const after = { radiusClients: [gateway], radiusTargets: [], revision: 7 };
  expect(await readSettings(db)).toMatchObject(after);
});
