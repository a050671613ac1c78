import { Decrypter, Encrypter } from 'age-encryption';
import { BackupError } from './backup-error.ts';

/** What a backup is encrypted to: a passphrase, or a public key of age (`age1…`). */
export type SealTo = { passphrase: string } | { recipient: string };
/** What opens it: that passphrase, or the key's other half (`AGE-SECRET-KEY-1…`). */
export type OpenWith = { passphrase: string } | { identity: string };

/** Somebody who has the file can try as many as they like, each costs them a second and 256 MB. */
export const PASSPHRASE_MIN_LENGTH = 12;
const RECIPIENT = /^age1[0-9a-z]{50,}$/;
const IDENTITY = /AGE-SECRET-KEY-[0-9A-Z-]+/;

export function isRecipient(text: string): boolean {
  if (!RECIPIENT.test(text)) return false;
  try {
    new Encrypter().addRecipient(text);
    return true;
  } catch {
    return false;
  }
}

/** @throws BackupError `bad_secret` */
export function encrypterTo(to: SealTo): Encrypter {
  const encrypter = new Encrypter();
  if ('passphrase' in to) {
    if (to.passphrase.length < PASSPHRASE_MIN_LENGTH) {
      throw new BackupError(
        'bad_secret',
        `the passphrase has less than ${PASSPHRASE_MIN_LENGTH} characters`,
      );
    }
    encrypter.setPassphrase(to.passphrase);
    return encrypter;
  }
  if (!isRecipient(to.recipient)) {
    throw new BackupError('bad_secret', 'the public key is none of age (age1…)');
  }
  encrypter.addRecipient(to.recipient);
  return encrypter;
}

/** @throws BackupError `bad_secret` */
export function decrypterWith(secret: OpenWith): Decrypter {
  const decrypter = new Decrypter();
  if ('passphrase' in secret) {
    decrypter.addPassphrase(secret.passphrase);
    return decrypter;
  }
  // As age-keygen writes it, with comments above.
  const [identity] = IDENTITY.exec(secret.identity) ?? [];
  try {
    decrypter.addIdentity(identity ?? '');
    return decrypter;
  } catch (cause) {
    const why = 'the identity is none of age (AGE-SECRET-KEY-1…)';
    throw new BackupError('bad_secret', why, { cause });
  }
}
