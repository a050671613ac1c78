export * from './agent-requests.ts';
export { applyStreamLimits } from './apply-stream-limits.ts';
export * from './asks.ts';
export * from './change.ts';
export { checkNats, NatsRefusedError } from './check-nats.ts';
export * from './change-log.ts';
export * from './commands.ts';
export { explainFullDisks, whoFillsTheLog, type DiskState, type NodeDisks } from './disk-states.ts';
export * from './event-stream.ts';
export { followStream, type FollowedMessage } from './follow-stream.ts';
export * from './hello.ts';
export * from './incarnation.ts';
export {
  readLast,
  readNextDirect,
  readStreamState,
  type PublishOutcome,
  type StreamState,
} from './jetstream.ts';
export * from './lease.ts';
export * from './leave-log-server.ts';
export * from './log-layout.ts';
export * from './log-permissions.ts';
export { type LogSignIn, type OperatorsTls, type TlsFiles } from './log-sign-in.ts';
export { askWhetherHeard, type Voice } from './log-server-voice.ts';
export * from './membership.ts';
export { namesOf, NODE_NAME } from './names.ts';
export {
  NatsLink,
  NoResponderError,
  SilenceError,
  type Log,
  type NatsLinkOptions,
  type Sealer,
} from './nats-link.ts';
export {
  PARKED_BUCKET_BYTES,
  PARKED_MAX_BYTES,
  PARKED_MS,
  ParkedEntries,
  type ParkedRead,
} from './parked-entries.ts';
export * from './rebuild-log.ts';
export { retryJitterMs } from './retry-jitter.ts';
export * from './shut-states.ts';
export * from './stop-facts.ts';
export * from './user-states.ts';
export * from './store-mark.ts';
export * from './witness-line.ts';
