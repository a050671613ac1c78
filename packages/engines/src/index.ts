export { assertPortFree, tryToBind } from './assert-port-free.ts';
export { checkNatsVersion, minimumNatsVersion } from './check-nats-version.ts';
export { EngineError } from './engine-error.ts';
export { findNatsServer, type NatsServerBinary } from './find-nats-server.ts';
export { makePrivateFolder } from './make-folder.ts';
export {
  renderNatsConfig,
  renderNatsUsers,
  type NatsAccess,
  type NatsSettings,
  type NatsUser,
} from './nats-config.ts';
export { choosePostgresUser, defaultPostgresUser, isReachableBy } from './os-user.ts';
export { logRotation, RotatingLog, type LogRotation } from './rotating-log.ts';
export { isRunning } from './running-process.ts';
export type { OsUser } from './setpriv.ts';
export {
  spawnSupervised,
  type ProcessExit,
  type SupervisedOptions,
  type SupervisedProcess,
} from './spawn-supervised.ts';
export { startNatsServer, type NatsEngine, type NatsOptions } from './start-nats-server.ts';
export { startPostgres, type PostgresEngine, type PostgresOptions } from './start-postgres.ts';
