import { keyedHash, type PurposeKey } from '@countersign/keys';
import { deriveSpareCode } from '@countersign/operations';

/**
 * Secrets that a command makes and shows once. They follow from the command and its time under a key that only agents
 * hold, so that a repeat shows the same ones though nothing but their hashes is ever stored.
 */
export type Origin = {
  commandId: string;
  /** Of the change: a command id that comes back after its result is forgotten makes others. */
  at: string;
};

export function newRecoveryCodes(key: PurposeKey, origin: Origin, count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    deriveSpareCode(key, 'recovery', origin.commandId, origin.at, String(index)),
  );
}

export function newEnrolmentCode(key: PurposeKey, origin: Origin): string {
  return deriveSpareCode(key, 'enrolment', origin.commandId, origin.at);
}

/** 256 bits. */
export function newApiKey(key: PurposeKey, origin: Origin): string {
  return `cs_${keyedHash(key, 'api-key', origin.commandId, origin.at).toString('base64url')}`;
}
