export {
  backupAgeSeconds,
  readBackupStatus,
  writeBackupStatus,
  type BackupStatus,
} from './backup-status.ts';
export { witnessesHeard } from './read-cluster.ts';
export { askExamination } from './ask-examination.ts';
export { authenticateKey } from './authenticate-key.ts';
export {
  completeDirectory,
  flawOfDirectory,
  mergeDirectory,
  type DirectoryCore,
} from './complete-directory.ts';
export { directoryConfigOf } from './directory-config.ts';
export { OpenDirectories } from './directory-ports.ts';
export {
  openDirectoryPassword,
  passwordContext,
  sealDirectoryPassword,
} from './directory-password.ts';
export { hashApiKey, sealerOf, seedContext, seedFingerprint, seedFingerprints } from './keys.ts';
export {
  checkTextProviders,
  mailServerOf,
  phonePolicyOf,
  textProvidersOf,
  type TextProviders,
} from './delivery-settings.ts';
export { openSetting, sealerOfSettings } from './sealed-settings.ts';
export { checkPassAttributes, checkReplies } from './radius-attributes.ts';
export {
  openRadiusSecret,
  placesOf,
  radiusSecretContext,
  sealRadiusSecret,
  type RadiusPlace,
} from './radius-secret.ts';
export { newEvent } from './new-event.ts';
export { isSameContent, runCommand, type CommandPath } from './send-command.ts';
export { askSignIn, type SignInPath } from './ask-sign-in.ts';
export { replicaPorts, type ReplicaPorts } from './replica-ports.ts';
export {
  findAdministrators,
  lackOfFactor,
  LAST_OWNER,
  overreachOf,
  UNKNOWN_ADMINISTRATOR,
} from './administrator-rules.ts';
export { FRAUD_REASON, LAST_FULL_KEY } from './stop-without-master.ts';
export { CHILD_LOG, runAsChild } from './run-as-child.ts';
export { hashPin, isPin, resealPin } from './hash-pin.ts';
export { deriveSpareCode, newSpareCode, readSpareCode, spareCodeHash } from './spare-codes.ts';
export { hashPassword, isPassword } from './hash-password.ts';
export {
  authenticateSession,
  isDueForRenewal,
  isOfOldKey,
  newSession,
  openSession,
  sealSession,
  SESSION_PREFIX,
  type SessionClaims,
} from './sessions.ts';
