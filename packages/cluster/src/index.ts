export * from './agent-requests.ts';
export * from './asks.ts';
export * from './change.ts';
export * from './change-log.ts';
export * from './commands.ts';
export * from './event-stream.ts';
export { followStream, type FollowedMessage } from './follow-stream.ts';
export {
  ensureStreams,
  findOrBeginIncarnation,
  type Incarnation,
  type StreamLimits,
} from './incarnation.ts';
export { readStreamState, type StreamState } from './jetstream.ts';
export * from './lease.ts';
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
export * from './user-states.ts';
