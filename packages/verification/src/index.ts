export {
  ADMINISTRATORS_MAX,
  administratorDocument,
  administratorState,
  checkNewPassword,
  FRESH_MINUTES,
  INVITATION_HOURS,
  isLastOwner,
  PASSWORD_LENGTH_MAX,
  ROLES,
  SESSION_HOURS,
  SESSION_IDLE_MINUTES,
} from './administrator.ts';
export type { AdministratorDocument, AdministratorState, Role } from './administrator.ts';
export { hasRight, RIGHTS, rightsOf } from './roles.ts';
export type { Right } from './roles.ts';
export { applicationDocument } from './application.ts';
export type { ApplicationDocument } from './application.ts';
export { Base32Error, decodeBase32, encodeBase32 } from './base32.ts';
export { ClaimError, holdsClaim, isUsedClaim, parseClaim } from './claims.ts';
export type { Claim, FailureClaim, TextClaim, UsedClaim, WaitClaim } from './claims.ts';
export {
  API_SCOPES,
  AUTHENTICATORS_MAX,
  OATH_TOKENS_MAX,
  PHONES_MAX,
  PIN_HISTORY_MAX,
  RECOVERY_CODES_MAX,
  DOCUMENT_KINDS,
  DocumentError,
  apiKeyDocument,
  checkDocument,
  nodeDocument,
  parseDocument,
  userDocument,
} from './documents.ts';
export type {
  ApiKeyDocument,
  ApiScope,
  Authenticator,
  DocumentKind,
  DocumentOf,
  OathAuthenticator,
  PhoneAuthenticator,
  PinHash,
  NodeDocument,
  UserDocument,
} from './documents.ts';
export { JOIN_TOKENS_MAX, SPENT_TOKENS_MAX } from './member-documents.ts';
export type { AuthorityDocument, JoinTokenDocument, MembersDocument } from './member-documents.ts';
export {
  DIRECTORIES_MAX,
  DIRECTORY_NAMES_MAX,
  HELD_NAMES_MAX,
  PHONE_KINDS,
  SYNC_ITEMS_MAX,
  directoryDocument,
  directoryName,
  directorySyncDocument,
  syncItem,
} from './directory.ts';
export type {
  AttributeMap,
  ChangesCursor,
  DirectoryDocument,
  DirectoryLink,
  DirectorySyncDocument,
  PhoneKind,
  SyncCounts,
  SyncItem,
} from './directory.ts';
export {
  SYNC_ITEM_DEFAULTS,
  directoryFields,
  directoryPassword,
  itemEdit,
  itemPlace,
  newDirectory,
  newSyncItem,
  syncItemFields,
} from './directory-fields.ts';
export type {
  DirectoryFields,
  ItemEdit,
  ItemPlace,
  NewDirectory,
  NewSyncItem,
  SyncItemFields,
} from './directory-fields.ts';
export {
  FACTORS,
  FRONT_DOORS,
  METHOD_TABLE,
  MODES,
  METHODS,
  asksPin,
  methodRow,
} from './methods.ts';
export type { Factor, FrontDoor, Method, MethodRow, StandIn } from './methods.ts';
export { isTrustedAddress, parseAddressRange, plainNetwork } from './trusted-address.ts';
export {
  askPassword,
  challengeOutcome,
  isPasswordAsked,
  judgeStep,
  settlePassword,
} from './judge-step.ts';
export type {
  Judgement,
  OpenChallenge,
  PasswordJudged,
  Question,
  StepInput,
} from './judge-step.ts';
export { isLastFullKey } from './last-full-key.ts';
export { beginsLockout, failuresInForce, isLocked, lockoutOf } from './lockout.ts';
export { KEY_GENERATIONS_MAX, KEY_RING_ID } from './key-ring.ts';
export type { KeyRingDocument } from './key-ring.ts';
export { MAIL_RETRIES_MAX } from './mail-job.ts';
export type { MailCursor, MailJobDocument, QueuedMail } from './mail-job.ts';
export { mergeClaims, mergeStates } from './merge-claims.ts';
export {
  OTP_ALGORITHMS,
  checkSecret,
  codesEqual,
  generateSecret,
  hotp,
  otpKey,
  totpStep,
} from './otp.ts';
export type { OtpAlgorithm, OtpDigits, OtpParameters } from './otp.ts';
export { otpauthUri } from './otpauth-uri.ts';
export type { OtpauthOptions } from './otpauth-uri.ts';
export { checkNewPin, isWeakPin, mustChangePin } from './pin.ts';
export {
  passesUnchecked,
  RADIUS_ADDRESSES_MAX,
  RADIUS_CLIENTS_MAX,
  RADIUS_REPLIES_MAX,
  RADIUS_SECRET_ADVISED_BYTES,
  RADIUS_SECRET_MAX_BYTES,
  RADIUS_SERVERS_MAX,
  RADIUS_TARGETS_MAX,
  radiusClientDocument,
  radiusName,
  radiusTargetDocument,
  serverKey,
} from './radius.ts';
export type {
  RadiusClientDocument,
  RadiusReply,
  RadiusServerAddress,
  RadiusTargetDocument,
} from './radius.ts';
export {
  NO_NETWORK,
  RADIUS_CLIENT_DEFAULTS,
  RADIUS_TARGET_DEFAULTS,
  newRadiusClient,
  newRadiusTarget,
  radiusClientFields,
  radiusSecret,
  radiusTargetFields,
} from './radius-fields.ts';
export type {
  GivenFirstFactor,
  NewRadiusClient,
  NewRadiusTarget,
  RadiusClientFields,
  RadiusTargetFields,
} from './radius-fields.ts';
export { DENIAL_REASONS } from './reasons.ts';
export type { DenialReason, Skip, Verdict } from './reasons.ts';
export {
  RESYNC_DRIFT_MAX_STEPS,
  RESYNC_LOOK_AHEAD_MAX,
  findHotpCounter,
  findTotpDrift,
} from './resynchronise.ts';
export { escapeUntrusted, isSafeText } from './safe-text.ts';
export {
  SettingError,
  defaultSettings,
  findApplication,
  findSetting,
  isOverridable,
  listSettings,
  overridableNames,
  settingNames,
  settingsDocument,
  settingsFor,
  settingsFrom,
  withoutQuorumPolicy,
} from './settings.ts';
export type {
  LockoutSettings,
  Settings,
  SettingsDocument,
  WithoutQuorumPolicy,
} from './settings.ts';
export {
  SecretRequiredError,
  changeSetting,
  changeSettings,
  parseOverride,
  parseSetting,
  SECRET_SETTINGS,
  sealedSetting,
} from './change-settings.ts';
export type { SealSetting, SecretSetting, SettingChange } from './change-settings.ts';
export { APPLICATIONS_MAX, GROUP_TITLES, SETTINGS, applicationName } from './settings-schema.ts';
export type { SealedValue, Setting, SettingValue } from './setting.ts';
export {
  CLOCKS_DIFFER_MS,
  STOP_FACT_KINDS,
  STOP_FACTS_PER_MINUTE_MAX,
  STOP_FACTS_PER_USER_MAX,
  STOP_REASON_MAX_BYTES,
  StopFactError,
  absorbStopFact,
  liftStopFacts,
  parseStopFact,
  stopFactsInForce,
  takeStopFact,
  withStopFacts,
} from './stop-facts.ts';
export type { StopFact, StopFactKind } from './stop-facts.ts';
export {
  ATTEMPTS_KEPT_MS,
  LOCKED_UNTIL_UNLOCKED,
  StateError,
  USER_STATE_MAX_BYTES,
  emptyState,
  encodeState,
  findAttempt,
  parseState,
} from './user-state.ts';
export type { MethodFailures, StoredAttempt, UserState, Wait } from './user-state.ts';
export {
  answerOf,
  answerWait,
  findWait,
  questionKey,
  waitOfQuestion,
  WAITS_MAX,
  withdrawWait,
} from './waits.ts';
export type { WaitAnswer } from './waits.ts';
export { checkUsername, usernameKey } from './username-key.ts';
