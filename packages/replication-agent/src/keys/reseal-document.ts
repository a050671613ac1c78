import { KeyError, open, seal, sealedUnder, type PurposeKey } from '@countersign/keys';
import {
  openDirectoryPassword,
  openRadiusSecret,
  resealPin,
  seedContext,
  seedFingerprint,
  sealDirectoryPassword,
  sealRadiusSecret,
} from '@countersign/operations';
import {
  SECRET_SETTINGS,
  sealedSetting,
  type AdministratorDocument,
  type AuthorityDocument,
  type DirectoryDocument,
  type OathAuthenticator,
  type PinHash,
  type RadiusClientDocument,
  type RadiusTargetDocument,
  type Settings,
  type SettingsDocument,
  type UserDocument,
} from '@countersign/verification';
import { openAuthority, sealAuthority } from '../members/member-documents.ts';

/** What opens and seals secrets in documents. */
export type SecretKeys = Record<'seed' | 'pin' | 'authority', PurposeKey>;

/**
 * The document with all secrets in it under the active generation of the keys; the same object where they are. What
 * does not open, such as what was damaged, is of no use to anybody and stays as it is.
 */
export function resealDocument(
  { kind, document }: { kind: string; document: unknown },
  keys: SecretKeys,
  settings: Settings,
): unknown {
  switch (kind) {
    case 'user':
      return resealUser(document as UserDocument, keys);
    case 'administrator':
      return resealAdministrator(document as AdministratorDocument, keys);
    case 'authority':
      return resealAuthority(document as AuthorityDocument, keys);
    case 'settings':
      return resealSettings(document as SettingsDocument, keys, settings);
    case 'directory':
      return resealDirectory(document as DirectoryDocument, keys);
    case 'radius-client':
    case 'radius-target':
      return resealRadius(document as RadiusClientDocument | RadiusTargetDocument, keys);
    default:
      return document;
  }
}

function resealUser(user: UserDocument, keys: SecretKeys): UserDocument {
  const authenticators = user.authenticators.map((one) =>
    one.type === 'phone' ? one : resealToken(one, keys),
  );
  const isSame = authenticators.every((one, index) => one === user.authenticators[index]);
  const pin = user.pin && resealPins(user.id, user.pin, keys);
  if (isSame && pin === user.pin) return user;
  return { ...user, authenticators, ...(pin && { pin }) };
}

function resealToken(token: OathAuthenticator, { seed }: SecretKeys): OathAuthenticator {
  const { sealedSecret, fingerprint, id } = token;
  return unlessCurrent(sealedSecret, seed, token, (sealed) => {
    const secret = open(seed, sealed, seedContext(id));
    return {
      ...token,
      sealedSecret: seal(seed, secret, seedContext(id)).toString('base64'),
      ...(fingerprint !== undefined && { fingerprint: seedFingerprint(seed, secret) }),
    };
  });
}

function resealPins(
  userId: string,
  pin: NonNullable<UserDocument['pin']>,
  { pin: key }: SecretKeys,
): NonNullable<UserDocument['pin']> {
  // A cluster that never changed its key has bare hashes.
  const reseal = (stored: PinHash) =>
    key.first
      ? unlessCurrent(stored.hash, key, stored, () => resealPin(key, userId, stored))
      : stored;
  const { salt, hash } = reseal({ salt: pin.salt, hash: pin.hash });
  const history = pin.history.map(reseal);
  const isSame = hash === pin.hash && history.every((one, index) => one === pin.history[index]);
  return isSame ? pin : { ...pin, salt, hash, history };
}

function resealAdministrator(
  administrator: AdministratorDocument,
  { seed }: SecretKeys,
): AdministratorDocument {
  const { credentials } = administrator;
  if (!credentials) return administrator;
  const { totp } = credentials;
  return unlessCurrent(totp.sealedSecret, seed, administrator, (sealed) => {
    const context = seedContext(totp.id);
    const sealedSecret = seal(seed, open(seed, sealed, context), context).toString('base64');
    return { ...administrator, credentials: { ...credentials, totp: { ...totp, sealedSecret } } };
  });
}

function resealAuthority(
  document: AuthorityDocument,
  { authority }: SecretKeys,
): AuthorityDocument {
  return unlessCurrent(document.sealedKey, authority, document, () => {
    const { certificatePem, keyPem, clusterId } = openAuthority(document, authority);
    return sealAuthority({ clusterId, certificatePem, keyPem }, authority);
  });
}

function resealSettings(
  document: SettingsDocument,
  { seed }: SecretKeys,
  settings: Settings,
): SettingsDocument {
  let resealed: Record<string, unknown> = document;
  for (const name of SECRET_SETTINGS) {
    const [group, field = ''] = name.split('.');
    const found = group === document.id ? sealedSetting(settings, name) : null;
    if (!found) continue;
    const { context } = found;
    const before = resealed;
    resealed = unlessCurrent(found.sealed, seed, before, (bytes) => {
      const sealed = seal(seed, open(seed, bytes, context), context).toString('base64');
      return { ...before, [field]: { ...(before[field] as object), sealed } };
    });
  }
  return resealed as SettingsDocument;
}

function resealDirectory(directory: DirectoryDocument, { seed }: SecretKeys): DirectoryDocument {
  const { account } = directory;
  if (!account) return directory;
  return unlessCurrent(account.sealedPassword, seed, directory, () => {
    const password = openDirectoryPassword(seed, directory)!;
    const sealedPassword = sealDirectoryPassword(seed, directory, password);
    return { ...directory, account: { ...account, sealedPassword } };
  });
}

function resealRadius<D extends RadiusClientDocument | RadiusTargetDocument>(
  document: D,
  { seed }: SecretKeys,
): D {
  return unlessCurrent(document.sealedSecret, seed, document, () => {
    const secret = openRadiusSecret(seed, document).toString('utf8');
    return { ...document, sealedSecret: sealRadiusSecret(seed, document, secret) };
  });
}

function unlessCurrent<T>(
  base64: string,
  key: PurposeKey,
  current: T,
  reseal: (sealed: Buffer) => T,
): T {
  const sealed = Buffer.from(base64, 'base64');
  if (sealedUnder(sealed) === key.keyId) return current;
  try {
    return reseal(sealed);
  } catch (error) {
    if (error instanceof KeyError) return current;
    throw error;
  }
}
