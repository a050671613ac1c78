import { isOperators, type Command, type LogLayout, type MasterReply } from '@countersign/cluster';
import { listNodes, type Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import type { Allowed } from './authorise.ts';
import { lackOfEveryRight } from './commands/add-join-token.ts';
import { isMember, removeMember } from './members/remove-member.ts';
import {
  keysToReview,
  withdrawInvitations,
  type Withdrawn,
} from './members/withdraw-invitations.ts';
import type { Witnesses } from './members/witnesses.ts';
import type { KeyRotation } from './keys/key-rotation.ts';
import { bestTarget, handOver, type HandOverOptions } from './hand-over.ts';

type Options = HandOverOptions & {
  db: Database;
  keys: Record<'document' | 'authority', PurposeKey>;
  layout: LogLayout;
  authorise(command: Command): Promise<Allowed | Extract<MasterReply, { kind: 'refused' }>>;
  tryMove(servers: LogLayout['servers']): Promise<boolean>;
  keyRotation: Pick<KeyRotation, 'begin'>;
  witnesses: Pick<Witnesses, 'isWitness' | 'online'>;
};

/** In an event; the answer has them all. */
const NAMES_TOLD_MAX = 20;

/** What concerns the cluster itself: only the master does it, and it becomes no document of anybody's. */
export async function runClusterCommand(options: Options, command: Command): Promise<MasterReply> {
  if (!options.mastership.isActive) return { kind: 'not_master' };
  const judged = await options.authorise(command);
  if (judged.kind === 'refused') return judged;
  if (command.name === 'cluster.replace-node') return replaceLogServer(options, command);
  if (command.name === 'cluster.remove-node') return removeNode(options, command, judged);
  if (command.name === 'cluster.rotate-keys') return rotateKeys(options, command);
  const isPromotion = command.name === 'cluster.promote';
  const target = isPromotion ? String(command.args.node) : bestTarget(options);
  if (target === null) return refuse('no_target', 'no other node is online and promotable');
  if (target === options.node) return done(options, { master: target });
  return handOver(options, target, command.actor);
}

/** Another node's log server takes the place of one that is gone. */
async function replaceLogServer(options: Options, command: Command): Promise<MasterReply> {
  const { layout, membership, witnesses } = options;
  const { node: old, by } = command.args as { node: string; by: string };
  if (isOperators(layout)) {
    return refuse('operators_nats', 'the log servers are not run by nodes, but named by nats.urls');
  }
  const place = layout.servers.findIndex(({ name }) => name === old);
  if (place === -1) return refuse('no_log_server', `${old} is none of the log servers`);
  if (old === options.node) {
    return refuse('is_master', `${old} is the master: promote another node first`);
  }
  if (layout.servers.some(({ name }) => name === by)) {
    return refuse('is_log_server', `${by} already is one of the log servers`);
  }
  const witness = witnesses.online().find(({ name }) => name === by);
  const seen = witness
    ? { logServer: { ...witness.logServer, isWitness: true as const } }
    : membership.online().find((one) => one.node === by);
  if (!seen) return refuse('node_offline', `${by} is not heard`);
  if (!seen.logServer) {
    return refuse('no_log_server', `${by} is not configured with a log server of its own`);
  }
  if (!(await options.tryMove(layout.servers.with(place, seen.logServer)))) {
    return refuse('not_moved', 'not every node took part: nothing was changed; try again');
  }
  return done(options, { replaced: old, by });
}

/**
 * A node or witness that is gone for good is no longer listed or waited for. `evenOnline`: it need not be gone, nor
 * leave its log server to another: nobody asks it, for it may be hostile. A witness may be one of the log's servers
 * anyhow: the log moves to those that are left, by itself.
 */
async function removeNode(
  options: Options,
  command: Command,
  judged: Allowed,
): Promise<MasterReply> {
  const { db, layout, membership, mastership, witnesses, events } = options;
  const name = String(command.args.node);
  const isForced = command.args.evenOnline === true;
  const isNode = (await listNodes(db)).some((node) => node.name === name);
  if (!isNode && !(await isMember(options, name))) {
    return refuse('unknown_node', `no node is called ${name}`, 404);
  }
  if (name === options.node) {
    return refuse('is_master', `${name} is the master: promote another node first`);
  }
  const isWitness = witnesses.isWitness(name);
  const isOnline =
    membership.online().some(({ node }) => node === name) ||
    witnesses.online().some((witness) => witness.name === name);
  if (isOnline && !isForced) {
    const detail = `${name} is running: stop it for good first, or shut it out with --even-online`;
    return refuse('node_online', detail);
  }
  // Whoever may not let a node in may not shut one out that is needed.
  const lacking = isForced ? lackOfEveryRight(judged.rights) : null;
  if (lacking) return refuse('forbidden', `this needs every right, also ${lacking}`, 403);
  if (isForced && !(await isMember(options, name))) {
    return refuse('not_secured', `${name} has no credentials of its own that could be taken away`);
  }
  const isLogServer = layout.servers.some((server) => server.name === name);
  if (isLogServer && !isForced && !isWitness) {
    const how = `countersign node replace ${name} NEW`;
    const detail = `${name} is one of the log servers: put another in its place first (${how})`;
    return refuse('is_log_server', detail);
  }
  // What is left undone is done by a repeat, which still finds the node.
  const withdrawn = isWitness ? NOTHING_WITHDRAWN : await withdrawInvitations(options);
  if (!withdrawn || !(await removeMember(options, name, { isHostile: isForced })))
    return { kind: 'unknown' };
  const change = { kind: 'node', id: name, document: null, removed: true };
  if (isNode && !(await mastership.write(change))) return { kind: 'unknown' };
  events.nodeRemoved({
    ...{ node: name, by: command.actor, isOnline, isLogServer },
    ...(judged.reason !== undefined && { reason: judged.reason }),
    joinTokensRevoked: withdrawn.joinTokens.length,
    invitationsEnded: withdrawn.invitations.slice(0, NAMES_TOLD_MAX).join(', '),
  });
  // Whoever has its disk has its keys, but for a witness, which never had any.
  const reason = `the node ${name} was removed`;
  const begun = isWitness
    ? null
    : await options.keyRotation
        .begin({ reason, by: command.actor, always: true })
        // Where it cannot begin now the operator is told so.
        .catch(() => ({ kind: 'unknown' }) as const);
  return done(options, {
    removed: name,
    keysRotate: begun?.kind === 'begun',
    ...{ isWitness, isOnline, isLogServer, ...withdrawn },
    apiKeys: isWitness ? [] : await keysToReview(db),
  });
}

/** A witness never had a key that anything follows from. */
const NOTHING_WITHDRAWN: Withdrawn = { joinTokens: [], invitations: [] };

/** From here on everything is sealed anew, in the background. */
async function rotateKeys(options: Options, command: Command): Promise<MasterReply> {
  const { reason = 'asked for' } = command.args as { reason?: string };
  const begun = await options.keyRotation.begin({ reason, by: command.actor, always: false });
  if (begun.kind === 'unknown') return { kind: 'unknown' };
  if (begun.kind === 'too many') {
    return refuse('too_many_generations', 'the cluster key was changed as often as it can be');
  }
  return done(options, { generation: begun.to, isNew: begun.isNew });
}

function done({ replica }: Options, result: Record<string, unknown>): MasterReply {
  return { kind: 'done', revision: replica.applied.revision, result };
}

function refuse(code: string, detail: string, status = 409): MasterReply {
  return { kind: 'refused', status, code, detail };
}
