import { setTimeout as sleep } from 'node:timers/promises';
import {
  deleteOtherIncarnations,
  openStates,
  type Lease,
  type Log,
  type LogLayout,
  type Membership,
  type NatsLink,
} from '@countersign/cluster';
import { listNodes, type Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import type { AgentConfig } from './config.ts';
import { ensureFirstAdministrator } from './first-administrator.ts';
import { ensureFirstApiKey } from './first-api-key.ts';
import type { LimitKeeper } from './limit-keeper.ts';
import type { Mastership } from './mastership.ts';
import { readMembers } from './members/member-documents.ts';
import type { Witnesses } from './members/witnesses.ts';
import { planMove } from './plan-move.ts';
import type { Storage } from './storage.ts';

type Duties = {
  config: Pick<AgentConfig, 'node' | 'dataDirectory'>;
  db: Database;
  keys: { document: PurposeKey };
  link: NatsLink;
  layout: LogLayout;
  incarnationNumber: number;
  membership: Membership;
  mastership: Mastership;
  lease: Lease;
  storage: Storage;
  limitKeeper: LimitKeeper;
  witnesses: Pick<Witnesses, 'online' | 'isGone'>;
  showApiKey(key: string): void;
  showInvitation(code: string): void;
  tryMove(servers: LogLayout['servers']): Promise<boolean>;
  log: Log;
  signal: AbortSignal;
};

const EVERY_MS = 500;
/** An idle master writes a change of no consequence this often: only a write proves that the log takes writes. */
const IDLE_WRITE_MS = 15_000;
/** A better place for the log must stay possible this long before the log moves. */
const MOVE_AFTER_MS = 5000;
const MOVE_AGAIN_MS = 60_000;
const OPEN_EVERY_MS = 2000;

/** The master's own small duties: the first key and invitation, nodes not seen before, a sign of life in an idle log, its place. */
export async function tendCluster(duties: Duties): Promise<void> {
  const { mastership, log, signal } = duties;
  const moving = { betterSince: null as number | null, triedAt: -Infinity, openedAt: -Infinity };
  let hasCleared = false;
  while (!signal.aborted) {
    try {
      if (mastership.isActive) {
        await tendOnce(duties);
        if (!hasCleared) await deleteOtherIncarnations(duties.link, duties.incarnationNumber);
        hasCleared = true;
        await letWriteAfterMove(duties, moving);
        await moveWhereBetter(duties, moving);
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'a duty of the master failed');
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function tendOnce(duties: Duties): Promise<void> {
  const { config, db, mastership, storage, lease } = duties;
  await ensureFirstApiKey({
    db,
    mastership,
    dataDirectory: config.dataDirectory,
    show: duties.showApiKey,
  });
  await ensureFirstAdministrator({
    db,
    mastership,
    dataDirectory: config.dataDirectory,
    show: duties.showInvitation,
  });
  await rememberNodes(duties);
  await duties.limitKeeper.tend(duties.incarnationNumber);
  if (storage.defect && storage.isBetterElsewhere) await lease.resign(storage.defect);
  if (performance.now() - mastership.lastWriteAt > IDLE_WRITE_MS) {
    const document = { at: new Date().toISOString() };
    await mastership.write({ kind: 'probe', id: config.node, document });
  }
}

/** A master that was gone in the middle of a move has left the user states shut. */
export async function letWriteAfterMove(
  {
    mastership,
    link,
    incarnationNumber,
  }: Pick<Duties, 'mastership' | 'link' | 'incarnationNumber'>,
  moving: { openedAt: number },
): Promise<void> {
  const now = performance.now();
  if (mastership.isHandingOver || now - moving.openedAt < OPEN_EVERY_MS) return;
  moving.openedAt = now;
  await openStates(link, incarnationNumber);
}

async function moveWhereBetter(
  { config, layout, membership, witnesses, tryMove }: Duties,
  moving: { betterSince: number | null; triedAt: number },
): Promise<void> {
  const better = planMove({
    layout,
    online: membership.online(),
    witnesses: witnesses.online(),
    isGone: (name) => witnesses.isGone(name),
    self: config.node,
  });
  const now = performance.now();
  moving.betterSince = better ? (moving.betterSince ?? now) : null;
  const isDue = moving.betterSince !== null && now - moving.betterSince > MOVE_AFTER_MS;
  if (!better || !isDue || now - moving.triedAt <= MOVE_AGAIN_MS) return;
  moving.triedAt = now;
  await tryMove(better);
}

/** A node that was removed is still heard for a moment. */
export async function rememberNodes({
  db,
  keys,
  membership,
  mastership,
}: Pick<Duties, 'db' | 'keys' | 'membership' | 'mastership'>): Promise<void> {
  const stored = new Map((await listNodes(db)).map((node) => [node.name, node]));
  for (const seen of membership.online()) {
    const before = stored.get(seen.node);
    if (before?.version === seen.version) continue;
    const members = await readMembers({ db, keys });
    if (members && !members.document.list.members.some(({ name }) => name === seen.node)) continue;
    const addedAt = before?.addedAt ?? new Date().toISOString();
    await mastership.write({
      kind: 'node',
      id: seen.node,
      document: { id: seen.node, name: seen.node, addedAt, version: seen.version },
    });
  }
}
