import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandReply, CommandRequest } from '@countersign/api';
import {
  askAgent,
  explainFullDisks,
  sendCommand,
  type Membership,
  type NatsLink,
  type Sealer,
} from '@countersign/cluster';
import { readApplied, type Database } from '@countersign/database';
import { generationsOf, keyedHash, type GenerationKey, type PurposeKey } from '@countersign/keys';
import { v7 as uuidv7 } from 'uuid';
import {
  isOnlyStop,
  stopWithoutMaster,
  wantsStopFact,
  type StopPath,
} from './stop-without-master.ts';

export type CommandPath = StopPath & {
  link: NatsLink;
  membership: Membership;
  sealer: Sealer;
  attemptKey: PurposeKey;
  commandIdKey: PurposeKey;
};

/** How long a write waits for this node to have applied it. */
const APPLIED_WAIT_MS = 2000;
const TAKE_OVER_TIMEOUT_MS = 15_000;

/**
 * Carries a command to the master, then waits until this node can read what was written. What only takes rights away
 * is accepted by this node itself where the master does not answer.
 */
export async function runCommand(
  path: CommandPath,
  request: CommandRequest,
  proof: (commandId: string) => Record<string, unknown>,
): Promise<CommandReply> {
  const commandId = commandIdOf(path.commandIdKey, request);
  if (isOnlyStop(request.name)) return stopWithoutMaster(path, request, commandId);
  const reply = await askMaster(path, request, commandId, proof);
  return wantsStopFact(request, reply) ? stopWithoutMaster(path, request, commandId) : reply;
}

async function askMaster(
  path: CommandPath,
  request: CommandRequest,
  commandId: string,
  proof: (commandId: string) => Record<string, unknown>,
): Promise<CommandReply> {
  const command = {
    commandId,
    contentHash: contentHashOf(path.attemptKey, request),
    name: request.name,
    args: request.args,
    actor: request.caller.name,
    proof: proof(commandId),
  };
  const outcome = await sendCommand(path, command, request.timeoutMs);
  if (outcome.kind === 'done') {
    const applied = await waitUntilApplied(path.db, outcome.revision, APPLIED_WAIT_MS);
    return { ...outcome, applied };
  }
  if (outcome.kind === 'master_offline') {
    if (request.name === 'cluster.promote') return takeOver(path, command);
    const full = explainFullDisks(path.membership.online());
    if (full !== null) {
      const detail = `${full} There is no master; nothing was changed, verification goes on.`;
      return { kind: 'refused', status: 507, code: 'disk_full', detail };
    }
    const last = path.membership.lastMaster();
    return {
      kind: 'master_offline',
      lastMaster: last?.node ?? null,
      since: last?.seenAt ?? null,
    };
  }
  return outcome;
}

/** Without a master the node itself is asked; it takes the lease once the old master's time is certainly over. */
async function takeOver(
  path: CommandPath,
  command: { commandId: string; args: Record<string, unknown>; proof: Record<string, unknown> },
): Promise<CommandReply> {
  const node = String(command.args.node);
  const body = { commandId: command.commandId, proof: command.proof };
  const answer = await askAgent(path, node, 'take-over', body, TAKE_OVER_TIMEOUT_MS);
  if (!answer) {
    return {
      kind: 'refused',
      status: 409,
      code: 'node_offline',
      detail: `${node} does not answer: start it, or promote another node`,
    };
  }
  // It may have heard us and become master yet.
  if (answer.code === 'silent') return { kind: 'outcome_unknown' };
  if (!answer.ok) {
    const { code = 'failed', detail = 'the node refused' } = answer;
    return { kind: 'refused', status: code === 'unauthorized' ? 401 : 409, code, detail };
  }
  return { kind: 'done', revision: answer.revision ?? 0, applied: true, result: { master: node } };
}

/**
 * Stored with a command's result: made without a key it would give away a PIN among the arguments. While the key is
 * changed there is one for each generation, for a repeat may come to a node that has more or fewer of them.
 */
export function contentHashOf(
  key: PurposeKey,
  { name, args }: Pick<CommandRequest, 'name' | 'args'>,
): string {
  const content = JSON.stringify([name, args]);
  const hashOf = (generation: GenerationKey) =>
    keyedHash(generation, 'command content', content).toString('hex');
  return generationsOf(key).map(hashOf).join(' ');
}

/** Whether two hashes of {@link contentHashOf} are of the same command. */
export function isSameContent(hash: string, other: string): boolean {
  const hashes = other.split(' ');
  return hash.split(' ').some((one) => hashes.includes(one));
}

/** The same key of the same caller is the same command, on any node. */
function commandIdOf(key: PurposeKey, request: CommandRequest): string {
  if (request.idempotencyKey === null) return uuidv7();
  const hash = keyedHash(key, 'command', request.caller.id, request.idempotencyKey);
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

async function waitUntilApplied(
  db: Database,
  revision: number,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const applied = await readApplied(db).catch(() => null);
    if (applied && applied.revision >= revision) return true;
    if (performance.now() >= deadline) return false;
    await sleep(8);
  }
}
