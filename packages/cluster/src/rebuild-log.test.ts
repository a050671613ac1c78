import { randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureChanges, type Incarnation } from './incarnation.ts';
import { publishIf } from './jetstream.ts';
import { namesOf } from './names.ts';
import { NatsLink, SilenceError, type Sealer } from './nats-link.ts';
import { giveUpUnsealed, hasSeal, RebuildError, RebuildLog } from './rebuild-log.ts';

const options = {
  logReplicas: 3,
  limits: { changesBytes: 1 << 20, statesBytes: 1 << 20, eventsBytes: 1 << 20 },
};
const at = '2026-03-01T12:00:00.000Z';
const plain: Sealer = { seal: (bytes) => bytes, open: (bytes) => bytes };
const ROUNDS = 12;

let nats: TestNats;
let links: NatsLink[];

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
  const { user, password } = nats;
  links = nats.urls.map((url) => {
    const log = { info() {}, warn() {} };
    return new NatsLink({ servers: [url.replace('nats://', '')], user, password, name: 't', log });
  });
}, 60_000);

afterAll(async () => {
  await Promise.all(links.map((link) => link.close()));
  await nats.stop();
});

async function beginUnsealed(number: number): Promise<Incarnation> {
  const create = () => ensureChanges(links[0]!, namesOf(number), options);
  await waitFor('the log', () => create().then(() => true), { timeoutMs: 20_000 });
  for (const link of links) {
    // Stores nothing, and tells whether the leader is reached from there.
    const write = () =>
      publishIf(link, namesOf(number).seal, new Uint8Array(), { lastSequence: 999 }, 2000);
    const isReached = async () => (await write()).kind === 'refused';
    await waitFor('its leader', isReached, { timeoutMs: 20_000 });
  }
  const incarnation = { number, id: randomUUID(), parent: randomUUID(), baseRevision: 7 };
  return { ...incarnation, baseEpoch: 1, ancestors: [], by: 'node-1', disasterAt: null };
}

/** As a rebuild does it: again, where the log does not say. */
async function untilDecided(giveUp: () => Promise<void>): Promise<PromiseSettledResult<void>> {
  const decide = async () => {
    const [outcome] = await Promise.allSettled([giveUp()]);
    const isOpen = outcome.status === 'rejected' && outcome.reason instanceof SilenceError;
    return isOpen ? null : outcome;
  };
  return waitFor('a decision', decide, { timeoutMs: 20_000 });
}

function change(id: string) {
  const envelope = { changeId: randomUUID(), commandId: null, kind: 'user', at, actor: 'test' };
  return { ...envelope, id, removed: false, document: { id }, commands: [] };
}

it('of a seal and somebody who gives the rebuild up at the same moment exactly one is accepted', async () => {
  const by = { changeId: randomUUID(), at, actor: 'test' };
  for (let round = 1; round <= ROUNDS; round += 1) {
    const incarnation = await beginUnsealed(round);
    const rebuilt = new RebuildLog(links[round % 3]!, incarnation, plain);
    for (let i = 0; i < 5; i += 1) await rebuilt.publish(change(`${i}`));
    const givingUp = untilDecided(() =>
      giveUpUnsealed(links[(round + 1) % 3]!, incarnation, options),
    );
    // Some seals are behind it, some beside it, some ahead of it.
    for (let i = 0; i < round % 4; i += 1) await hasSeal(links[0]!, incarnation);
    const sealing = rebuilt.seal({ count: 5, digest: '' }, by);
    const [[sealed], givenUp] = await Promise.all([Promise.allSettled([sealing]), givingUp]);
    const lost = [sealed, givenUp].find((result) => result.status === 'rejected');
    expect(lost?.reason).toBeInstanceOf(RebuildError);
    for (const link of links) {
      expect(await hasSeal(link, incarnation)).toBe(sealed.status === 'fulfilled');
    }
  }
}, 60_000);

it('refuses a rebuild in the middle, whose seal is not sent then', async () => {
  const incarnation = await beginUnsealed(ROUNDS + 1);
  const rebuilt = new RebuildLog(links[0]!, incarnation, plain);
  await rebuilt.publish(change('first'));
  // Most of these are under way.
  for (let i = 0; i < 100; i += 1) await rebuilt.publish(change(`${i}`));
  await giveUpUnsealed(links[1]!, incarnation, options);
  const filling = (async () => {
    for (let i = 100; i < 400; i += 1) await rebuilt.publish(change(`${i}`));
    await rebuilt.seal({ count: 401, digest: '' }, { changeId: randomUUID(), at, actor: 'test' });
  })();
  await expect(filling).rejects.toThrow(/another rebuild was first/);
  expect(await hasSeal(links[2]!, incarnation)).toBe(false);
});
