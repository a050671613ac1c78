import { keyedHash, type PurposeKey } from '@countersign/keys';
import { deriveSpareCode } from '@countersign/operations';
import { checkNewPin } from '@countersign/verification';

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

/** A first PIN that only its user is to read: never a weak one. */
export function newInitialPin(key: PurposeKey, origin: Origin, digits: number): string {
  const rules = { minLength: digits, expiryDays: 0, history: 0, refuseWeak: true };
  for (let round = 0; ; round += 1) {
    const parts = ['initial-pin', origin.commandId, origin.at, String(round)];
    const number = keyedHash(key, ...parts).readBigUInt64BE();
    const pin = String(number % 10n ** BigInt(digits)).padStart(digits, '0');
    if (checkNewPin(pin, rules) === null) return pin;
  }
}

/** 256 bits. */
export function newApiKey(key: PurposeKey, origin: Origin): string {
  return `cs_${keyedHash(key, 'api-key', origin.commandId, origin.at).toString('base64url')}`;
}
