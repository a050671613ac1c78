import type {
  ClusterKeys,
  ClusterNode,
  ClusterView,
  ClusterWitness,
  DirectoryNotice,
  StoredDirectory,
} from '@countersign/api';
import {
  isOnline,
  medianOf,
  namesOf,
  readStreamState,
  type Incarnation,
  type Membership,
  type NatsLink,
  type SeenNode,
  type StreamState,
} from '@countersign/cluster';
import {
  countPendingStopFacts,
  listDirectoriesWithSync,
  listExemptUsers,
  listNodes,
  readApplied,
  readCircuit,
  readSettings,
  type ReadSettings,
  type Applied,
  type Database,
} from '@countersign/database';
import {
  findApplication,
  passesUnchecked,
  type RadiusClientDocument,
} from '@countersign/verification';

const STREAM_TIMEOUT_MS = 700;
const UNSIGNED_MAX = 100;
const EXEMPT_MAX = 100;
const CLOCK_WARN_MS = 5000;
/** Further off, a worker is not ready (rule 21). */
const CLOCK_LIMIT_MS = 20_000;

/** The cluster as this node sees it: heartbeats for who is there, its own replica for who else belongs. */
export async function readClusterView(options: {
  db: Database;
  link: NatsLink;
  membership: Membership;
  incarnation: Incarnation;
  node: string;
  version: string;
  /** The log's servers when it last answered: without a leader it names none. */
  lastLog: { state: StreamState | null };
}): Promise<ClusterView> {
  const { db, link, membership, incarnation } = options;
  const [applied, settings, known, circuit, pendingStopFacts, exemptUsers, directories, log] =
    await Promise.all([
      readApplied(db),
      readSettings(db),
      listNodes(db),
      readCircuit(db),
      countPendingStopFacts(db),
      listExemptUsers(db, new Date(), EXEMPT_MAX),
      listDirectoriesWithSync(db),
      readStreamState(link, namesOf(incarnation.number).changes, STREAM_TIMEOUT_MS),
    ]);
  const seen = new Map(membership.nodes().map((node) => [node.node, node]));
  const master = membership.master();
  const witnesses = witnessesHeard(membership, options.node);
  if (log) options.lastLog.state = log;
  const isMajorityUp = log !== null && log.hasLeader && hasMajority(log.servers, log.replicas);
  const isWritable = seen.get(options.node)?.isLogWritable ?? true;
  const median = medianOf([...seen.values()].filter(isOnline).map((node) => node.offsetMs));
  // A node that was left in another incarnation counts its revisions for itself.
  const newest = Math.max(
    applied?.incarnation.id === incarnation.id ? applied.revision : 0,
    ...membership
      .online()
      .filter((node) => node.incarnation.id === incarnation.id)
      .map((node) => node.revision),
  );
  // A node that was removed is remembered by whoever heard it last.
  const online = membership.online().map(({ node }) => node);
  const names = new Set([options.node, ...known.map((node) => node.name), ...online]);
  const nodes = [...names].toSorted().map((name) => {
    const heard = seen.get(name);
    if (heard) {
      const isHere = name === options.node;
      return describeSeen(heard, { newest, median, isMaster: master?.node === name, isHere });
    }
    return describeUnheard(name, {
      version: known.find((node) => node.name === name)?.version ?? options.version,
      own: name === options.node ? applied : null,
      newest,
    });
  });
  return {
    incarnation: {
      number: incarnation.number,
      id: incarnation.id,
      parent: incarnation.parent,
      baseRevision: incarnation.baseRevision,
      disasterAt: incarnation.disasterAt,
    },
    epoch: master?.epoch ?? applied?.epoch ?? 0,
    master: master?.node ?? null,
    masterSince: master?.masterSince ?? null,
    lastMaster: membership.lastMaster()?.node ?? null,
    failover: settings.settings.failover.mode,
    quorum: isMajorityUp && isWritable,
    logReplicas: options.lastLog.state?.replicas ?? 0,
    logServers: (options.lastLog.state?.servers ?? []).map(({ name, isCurrent }) => ({
      name,
      online: log
        ? isCurrent
        : membership.online().some((node) => node.node === name) ||
          witnesses.some((witness) => witness.name === name && witness.online),
    })),
    ...(witnesses.length > 0 && { witnesses }),
    ...(link.streamsOf !== undefined && { operatorsNats: true }),
    degraded: circuit.open,
    pendingStopFacts,
    exemptUsers,
    directories: directories.flatMap(noticeOf),
    unsignedRadius: settings.radiusClients.flatMap(unsignedOf).slice(0, UNSIGNED_MAX),
    uncheckedRadius: settings.radiusClients
      .filter((client) => isUnchecked(client, settings))
      .map(({ name }) => name)
      .slice(0, UNSIGNED_MAX),
    ...describeKeys(seen.get(options.node), master, membership.online()),
    answeredBy: options.node,
    nodes,
  };
}

/** As the master hears them, or this node where there is none. */
export function witnessesHeard(membership: Membership, node: string): ClusterWitness[] {
  return (membership.master() ?? membership.find(node))?.witnesses ?? [];
}

/** Nothing where neither the master nor this node tells. */
function describeKeys(
  own: SeenNode | undefined,
  master: SeenNode | null,
  online: SeenNode[],
): { keys?: ClusterKeys } {
  const told = (master ?? own)?.keyRing;
  if (!told) return {};
  const holders = (id: string) =>
    online
      .filter(({ keyRing }) => keyRing?.generations.some((generation) => generation.id === id))
      .map(({ node }) => node);
  const generations = told.generations.map(({ id, madeAt }) => {
    return { id, madeAt, nodes: holders(id) };
  });
  return { keys: { active: told.active, generations, rotation: master?.keyRotation ?? null } };
}

function unsignedOf({ name, enabled, messageAuthenticator }: RadiusClientDocument) {
  return enabled && messageAuthenticator !== 'require' ? [{ name, messageAuthenticator }] : [];
}

function isUnchecked(
  client: RadiusClientDocument,
  { applications }: Pick<ReadSettings, 'applications'>,
): boolean {
  const application = findApplication(applications, client.application);
  return client.enabled && passesUnchecked(client, application);
}

/** Nothing of a directory with which all is well. */
function noticeOf({ document, sync }: StoredDirectory): DirectoryNotice[] {
  const { last = null, held = null } = sync ?? {};
  const problem = last?.outcome === 'failed' ? (last.problem ?? 'it failed') : null;
  const waiting = held && held.decision === null ? { count: held.count, hash: held.hash } : null;
  if (problem === null && waiting === null) return [];
  return [{ name: document.name, problem, held: waiting }];
}

function describeSeen(
  seen: SeenNode,
  context: { newest: number; median: number; isMaster: boolean; isHere: boolean },
): ClusterNode {
  const clockOffsetMs = Math.round(seen.offsetMs - context.median);
  const problems = [...seen.problems];
  if (isOnline(seen) && Math.abs(clockOffsetMs) >= CLOCK_WARN_MS) {
    problems.push(`clock is ${(clockOffsetMs / 1000).toFixed(1)} s off the cluster's median`);
  }
  if (context.isHere && !isOnline(seen)) problems.push('its replication agent is not heard');
  return {
    name: seen.node,
    role: context.isMaster ? 'master' : 'subordinate',
    // The node that answers is there, whatever its agent does.
    online: context.isHere || isOnline(seen),
    revision: seen.revision,
    epoch: seen.epoch,
    digest: seen.digest,
    digestComparable: seen.isDigestComparable,
    behind: Math.max(0, context.newest - seen.revision),
    version: seen.version,
    clockOffsetMs,
    promotable: seen.isPromotable,
    lastSeen: seen.seenAtWall,
    url: seen.url,
    incarnation: seen.incarnation.number,
    filling: seen.filling?.revision ?? null,
    verifies: (seen.verifies ?? true) && Math.abs(clockOffsetMs) <= CLOCK_LIMIT_MS,
    damage: seen.damage ?? null,
    certificates: seen.certificates ?? [],
    problems,
  };
}

function describeUnheard(
  name: string,
  context: {
    version: string;
    own: Applied | null;
    newest: number;
  },
): ClusterNode {
  const revision = context.own?.revision ?? 0;
  return {
    name,
    role: 'subordinate',
    online: context.own !== null,
    revision,
    epoch: context.own?.epoch ?? 0,
    digest: context.own?.digest ?? '',
    digestComparable: context.own !== null && revision >= context.own.horizon,
    behind: Math.max(0, context.newest - revision),
    version: context.version,
    clockOffsetMs: 0,
    // Not known before it is heard.
    promotable: true,
    lastSeen: null,
    url: null,
    incarnation: context.own?.incarnation.number ?? 0,
    filling: null,
    verifies: context.own !== null,
    damage: null,
    problems: context.own ? ['its replication agent is not heard'] : [],
  };
}

function hasMajority(servers: { isCurrent: boolean }[], replicas: number): boolean {
  if (servers.length === 0) return true;
  return servers.filter((server) => server.isCurrent).length * 2 > replicas;
}
