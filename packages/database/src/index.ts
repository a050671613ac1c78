export { tryAdvisoryLock } from './advisory-lock.ts';
export type { AdvisoryLock } from './advisory-lock.ts';
export {
  findAdministrator,
  findInvited,
  listAdministrators,
  listStandingAdministrators,
  readForSession,
} from './administrators.ts';
export type { SessionRead, StoredAdministrator } from './administrators.ts';
export { findApiKeys, listApiKeys } from './api-keys.ts';
export type { ListedApiKey, StoredApiKey } from './api-keys.ts';
export {
  APPLY_BATCH_MAX,
  ApplyError,
  applyChanges,
  hashDocument,
  xorHex,
  isSettingsKind,
} from './apply-changes.ts';
export type { ChangeKind, ReceivedChange, ReceivedCommand } from './apply-changes.ts';
export {
  closeCircuit,
  holdCircuitOpen,
  openCircuit,
  readCircuit,
  releaseCircuit,
} from './circuit.ts';
export type { Circuit } from './circuit.ts';
export {
  readDocumentSlice,
  readExamination,
  storeExamination,
  sumDocuments,
} from './examination.ts';
export type { DocumentSum, ExaminedDocument, StoredExamination } from './examination.ts';
export { eraseFromEvents, findKeptUsers } from './erased-users.ts';
export { readPerson } from './read-person.ts';
export type { Person } from './read-person.ts';
export { storedJson } from './json-text.ts';
export {
  findCommandResult,
  findCommandResults,
  recentCommandResults,
  recentResultsOf,
} from './command-results.ts';
export type { CommandResult } from './command-results.ts';
export {
  countAllDocuments,
  countDocuments,
  findSeal,
  listApiKeyNames,
  listBlockedUsers,
  listDocuments,
  listDocumentsOfKind,
  readDocument,
  readDocuments,
} from './documents.ts';
export type { DocumentRow } from './documents.ts';
export {
  countDirectoryUsers,
  findUsersByObject,
  listDirectories,
  listDirectoriesWithSync,
  listDirectoryUsers,
  listForeignDomains,
  readDirectorySync,
  listUsersWithPendingPhones,
} from './directories.ts';
export { listApprovedPhones, listLeftSyncs, listRemovedUsers } from './directory-chores.ts';
export { listEpochMarks, listEpochs } from './epochs.ts';
export { dropEventsBefore, ensureEventPartitions } from './event-partitions.ts';
export type { DroppedEvents } from './event-partitions.ts';
export {
  chosenEventsFrom,
  eventsAfter,
  findEvent,
  FIRST_EVENT,
  readEventsEnd,
} from './events-after.ts';
export type { EventChoice, EventCursor, PlacedEvent } from './events-after.ts';
export { lastUsernames, listEvents, storeEvents } from './events.ts';
export type { ArrivedEvent, AuditEvent, EventFilter, ListedEvent } from './events.ts';
export { grantAsk, settleForeign } from './foreign-reservations.ts';
export { findAnsweredWaits, type WaitKey } from './find-answered-waits.ts';
export type { AskOutcome } from './foreign-reservations.ts';
export { claimDatabase, DatabaseRefusedError, untilAnswering } from './claim-database.ts';
export { migrate, MigrationError } from './migrate.ts';
export { findKnownTokens } from './known-tokens.ts';
export { listNodes } from './nodes.ts';
export { Database, openDatabase, pingDatabase } from './open-database.ts';
export type { DatabaseOptions, Sql, Transaction } from './open-database.ts';
export {
  deleteOutbox,
  finishAbandoned,
  outboxSize,
  takeFinalOutbox,
  trimOutbox,
} from './outbox.ts';
export { readPosition } from './positions.ts';
export type { Follower } from './positions.ts';
export {
  beginNextTables,
  countNextDocuments,
  dropNextTables,
  hasNextSeal,
  readNextApplied,
  swapInNextTables,
} from './next-tables.ts';
export { noteLogLayout, readLogLayout } from './log-layout.ts';
export { initApplied, readApplied } from './read-applied.ts';
export type { Applied, Incarnation } from './read-applied.ts';
export { readForVerification } from './read-for-verification.ts';
export type { VerificationRead, WantedUser } from './read-for-verification.ts';
export { withSnapshot } from './read-snapshot.ts';
export type { Snapshot, SnapshotDocument } from './read-snapshot.ts';
export { recomputeDigest } from './recompute-digest.ts';
export type { RecomputedDigest } from './recompute-digest.ts';
export { COMMAND_RESULTS_KEPT_MS } from './record-commands.ts';
export { beginAttempts, failureItem, finishAttempts, markPhase } from './reservations.ts';
export type {
  Beginning,
  BeginningOutcome,
  Finish,
  Holding,
  OwnReservation,
  Phase,
  Reservation,
  ReservationKey,
} from './reservations.ts';
export {
  emptyDatabase,
  finishRestore,
  isDatabaseUnused,
  restoreDocuments,
  restoreEvents,
  restoreReservations,
  restoreStopFacts,
  restoreUserStates,
} from './restore-tables.ts';
export { readSettings } from './settings.ts';
export type { ReadSettings } from './settings.ts';
export {
  addStopFact,
  countPendingStopFacts,
  findStopFact,
  keepStopFacts,
  listStopFactsOfUser,
  listUnpublishedStopFacts,
  listUnsettledStopFacts,
  markStopFactsPublished,
  readStopFacts,
  reopenStopFacts,
  settleStopFacts,
  storeStopFacts,
} from './stop-facts.ts';
export { findParkedEntry, keepParkedEntry } from './parked-entries.ts';
export type { StopFactOutcome } from './stop-facts.ts';
export {
  markMerged,
  RESERVATIONS_KEPT_MS,
  sweepReservations,
  claimsOf,
  unmergedClaims,
} from './unmerged-claims.ts';
export type { UnmergedClaims } from './unmerged-claims.ts';
export {
  listNewestStates,
  listUnplacedStates,
  listUserStates,
  readUnplacedStates,
  readUserState,
  storeUserStates,
  unplaceUserStates,
} from './user-states.ts';
export type { StoredUserState } from './user-states.ts';
export {
  isRadiusWatched,
  NOTE_MAX_BYTES,
  tellRadiusWatchers,
  watchRadius,
} from './radius-watch.ts';
export type { RadiusWatching } from './radius-watch.ts';
export { namesOf } from './user-names.ts';
export type { UserName } from './user-names.ts';
export {
  findTakenKeys,
  findUser,
  findUserById,
  listExemptUsers,
  findUsersById,
  findUsernamesBehind,
  findUsersByKey,
  findUsersByKeys,
  findUsersByName,
  listUsers,
} from './users.ts';
export type { ListedUser, StoredUser } from './users.ts';
