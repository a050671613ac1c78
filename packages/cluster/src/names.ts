/** Streams, buckets and subjects of one incarnation. Its number stands in every one of them. */
export type Names = ReturnType<typeof namesOf>;

export function namesOf(incarnationNumber: number) {
  const n = incarnationNumber;
  return {
    changes: `CHANGES-${n}`,
    change: (kind: string, id: string) => `change.${n}.${kind}.${id}`,
    epochs: `change.${n}.epoch.*`,
    allChanges: `change.${n}.>`,

    states: `KV_STATES-${n}`,
    state: (userId: string) => `$KV.STATES-${n}.${userId}`,
    allStates: `$KV.STATES-${n}.>`,

    lease: `KV_LEASE-${n}`,
    leaseKey: `$KV.LEASE-${n}.master`,
    allLease: `$KV.LEASE-${n}.>`,

    events: `EVENTS-${n}`,
    event: (node: string) => `event.${n}.${node}`,
    allEvents: `event.${n}.>`,

    heartbeat: (node: string) => `cs.${n}.heartbeat.${node}`,
    allHeartbeats: `cs.${n}.heartbeat.*`,
    agent: (node: string, verb: string) => `cs.${n}.agent.${node}.${verb}`,
    command: (instance: string) => `cs.${n}.command.${instance}`,
    alive: (node: string) => `cs.${n}.alive.${node}`,
    allAlive: `cs.${n}.alive.*`,
    ask: `cs.${n}.ask`,
    settled: `cs.${n}.settled`,
  };
}

/** Where the number of the current incarnation is kept, outside all of them. */
export const INCARNATION_STREAM = 'KV_CLUSTER';
export const INCARNATION_KEY = '$KV.CLUSTER.incarnation';
export const INCARNATION_SUBJECTS = '$KV.CLUSTER.>';

/** A node's name stands in subjects, socket paths and logs. */
export const NODE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
