/**
 * Streams, buckets and subjects of one incarnation. Its number stands in all that is stored; in subjects it is a token
 * of its own, so that a permission can name what it allows in every incarnation (log-permissions.ts).
 */
export type Names = ReturnType<typeof namesOf>;

export function namesOf(incarnationNumber: number) {
  const n = incarnationNumber;
  return {
    changes: `CHANGES-${n}`,
    change: (kind: string, id: string) => `change.${n}.${kind}.${id}`,
    epochs: `change.${n}.epoch.*`,
    /** The last message of the rebuild that made this incarnation. */
    seal: `change.${n}.seal.${n}`,
    allChanges: `change.${n}.>`,

    states: `KV_STATES-${n}`,
    state: (userId: string) => `$KV.STATES.${n}.${userId}`,
    allStates: `$KV.STATES.${n}.>`,
    /** All that a bucket that is shut still takes: no user's, like those of probes. */
    statesEnd: `$KV.STATES.${n}.probe-END`,

    stops: `KV_STOPS-${n}`,
    stopFact: (id: string) => `$KV.STOPS.${n}.${id}`,
    allStops: `$KV.STOPS.${n}.>`,

    parked: `KV_PARKED-${n}`,
    parkedEntry: (id: string) => `$KV.PARKED.${n}.${id}`,
    allParked: `$KV.PARKED.${n}.>`,

    lease: `KV_LEASE-${n}`,
    leaseKey: `$KV.LEASE.${n}.master`,
    allLease: `$KV.LEASE.${n}.>`,

    events: `EVENTS-${n}`,
    event: (node: string) => `event.${n}.${node}`,
    allEvents: `event.${n}.>`,
  };
}

// Between nodes, not stored: they hear each other while one has begun the next incarnation and another has not.
export const heartbeatSubject = (node: string) => `cs.heartbeat.${node}`;
export const ALL_HEARTBEATS = 'cs.heartbeat.*';
export const agentSubject = (node: string, verb: string) => `cs.agent.${node}.${verb}`;
export const commandSubject = (instance: string) => `cs.command.${instance}`;
export const aliveSubject = (node: string) => `cs.alive.${node}`;
export const ALL_ALIVE = 'cs.alive.*';
export const ASK_SUBJECT = 'cs.ask';
export const SETTLED_SUBJECT = 'cs.settled';
export const STOP_FACTS_SUBJECT = 'cs.stop-facts';
/** What a witness says of itself; its own server lets it say that under its own name alone. */
export const witnessSubject = (witness: string) => `cs.witness.${witness}`;
export const ALL_WITNESSES = 'cs.witness.*';

/** Asked of everybody who is connected to a log server, before anything else is known of it. */
export const HELLO_SUBJECT = 'cs.hello';

/** Where the number of the current incarnation is kept, outside all of them. */
export const INCARNATION_STREAM = 'KV_CLUSTER';
export const INCARNATION_KEY = '$KV.CLUSTER.incarnation';
export const INCARNATION_SUBJECTS = '$KV.CLUSTER.>';

/** A node's name stands in subjects, socket paths and logs. */
export const NODE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
