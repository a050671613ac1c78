import type { Command, LogLayout, MasterReply } from '@countersign/cluster';
import { listNodes, type Database } from '@countersign/database';
import type { Allowed } from './authorise.ts';
import { bestTarget, handOver, type HandOverOptions } from './hand-over.ts';

type Options = HandOverOptions & {
  db: Database;
  layout: LogLayout;
  authorise(command: Command): Promise<Allowed | Extract<MasterReply, { kind: 'refused' }>>;
  tryMove(servers: LogLayout['servers']): Promise<boolean>;
};

/** What concerns the cluster itself: only the master does it, and it becomes no document of anybody's. */
export async function runClusterCommand(options: Options, command: Command): Promise<MasterReply> {
  if (!options.mastership.isActive) return { kind: 'not_master' };
  const judged = await options.authorise(command);
  if (judged.kind === 'refused') return judged;
  if (command.name === 'cluster.replace-node') return replaceLogServer(options, command);
  if (command.name === 'cluster.remove-node') return removeNode(options, command);
  const isPromotion = command.name === 'cluster.promote';
  const target = isPromotion ? String(command.args.node) : bestTarget(options);
  if (target === null) return refuse('no_target', 'no other node is online and promotable');
  if (target === options.node) return done(options, { master: target });
  return handOver(options, target, command.actor);
}

/** Another node's log server takes the place of one that is gone. */
async function replaceLogServer(options: Options, command: Command): Promise<MasterReply> {
  const { layout, membership } = options;
  const { node: old, by } = command.args as { node: string; by: string };
  const place = layout.servers.findIndex(({ name }) => name === old);
  if (place === -1) return refuse('no_log_server', `${old} is none of the log servers`);
  if (old === options.node) {
    return refuse('is_master', `${old} is the master: promote another node first`);
  }
  if (layout.servers.some(({ name }) => name === by)) {
    return refuse('is_log_server', `${by} already is one of the log servers`);
  }
  const seen = membership.online().find((one) => one.node === by);
  if (!seen) return refuse('node_offline', `${by} is not heard`);
  if (!seen.logServer) {
    return refuse('no_log_server', `${by} is not configured with a log server of its own`);
  }
  if (!(await options.tryMove(layout.servers.with(place, seen.logServer)))) {
    return refuse('not_moved', 'not every node took part: nothing was changed; try again');
  }
  return done(options, { replaced: old, by });
}

/** A node that is gone for good is no longer listed or waited for. */
async function removeNode(options: Options, command: Command): Promise<MasterReply> {
  const { db, layout, membership, mastership, events } = options;
  const name = String(command.args.node);
  if (!(await listNodes(db)).some((node) => node.name === name)) {
    return refuse('unknown_node', `no node is called ${name}`, 404);
  }
  if (membership.online().some(({ node }) => node === name)) {
    return refuse('node_online', `${name} is running: stop it for good first`);
  }
  if (layout.servers.some((server) => server.name === name)) {
    const how = `countersign node replace ${name} NEW`;
    const detail = `${name} is one of the log servers: put another in its place first (${how})`;
    return refuse('is_log_server', detail);
  }
  const change = { kind: 'node', id: name, document: null, removed: true };
  if (!(await mastership.write(change))) return { kind: 'unknown' };
  events.nodeRemoved({ node: name, by: command.actor });
  return done(options, { removed: name });
}

function done({ replica }: Options, result: Record<string, unknown>): MasterReply {
  return { kind: 'done', revision: replica.applied.revision, result };
}

function refuse(code: string, detail: string, status = 409): MasterReply {
  return { kind: 'refused', status, code, detail };
}
