import { generationsOf, keyedHash, type GenerationKey, type PurposeKey } from '@countersign/keys';
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

export function newRecoveryCodes(key: GenerationKey, origin: Origin, count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    deriveSpareCode(key, 'recovery', origin.commandId, origin.at, String(index)),
  );
}

export function newEnrolmentCode(key: GenerationKey, origin: Origin): string {
  return deriveSpareCode(key, 'enrolment', origin.commandId, origin.at);
}

/** A first PIN that only its user is to read: never a weak one. */
export function newInitialPin(key: GenerationKey, origin: Origin, digits: number): string {
  const rules = { minLength: digits, expiryDays: 0, history: 0, refuseWeak: true };
  for (let round = 0; ; round += 1) {
    const parts = ['initial-pin', origin.commandId, origin.at, String(round)];
    const number = keyedHash(key, ...parts).readBigUInt64BE();
    const pin = String(number % 10n ** BigInt(digits)).padStart(digits, '0');
    if (checkNewPin(pin, rules) === null) return pin;
  }
}

/** 256 bits. */
export function newApiKey(key: GenerationKey, origin: Origin): string {
  return `cs_${keyedHash(key, 'api-key', origin.commandId, origin.at).toString('base64url')}`;
}

/** 256 bits. */
export function newInvitationCode(key: GenerationKey, origin: Origin): string {
  return `csi_${keyedHash(key, 'invitation', origin.commandId, origin.at).toString('base64url')}`;
}

/**
 * What was made under one generation of the key or another: the one that fits what is stored of it; null where none
 * does, such as when it was replaced.
 */
export async function findMade<T>(
  key: PurposeKey,
  make: (generation: GenerationKey) => T,
  fits: (made: T) => boolean | Promise<boolean>,
): Promise<T | null> {
  for (const generation of generationsOf(key)) {
    const made = make(generation);
    if (await fits(made)) return made;
  }
  return null;
}

/** 32 bytes: what the bearer of a join token signs with. */
export function newJoinSecret(key: GenerationKey, origin: Origin): Buffer {
  return keyedHash(key, 'join-token', origin.commandId, origin.at);
}
