import { checkUsername } from '@countersign/verification';
import {
  TokenFileError,
  checkName,
  checkTokenSecret,
  decodeFile,
  maskStraySecrets,
} from './imported-token.ts';
import type { ImportedToken, ReadTokens, TokenCells, TokenMoves } from './imported-token.ts';
import { secretOpener } from './open-pskc-secrets.ts';
import type { OpenSecret, PskcOptions } from './open-pskc-secrets.ts';
import { attribute, element, elements, parseXml, textOf } from './parse-xml.ts';
import type { XmlElement } from './parse-xml.ts';
import { refuseDuplicates } from './refuse-duplicates.ts';

export type { PskcOptions } from './open-pskc-secrets.ts';

export type ReadPskc = ReadTokens & {
  /**
   * The file is signed, and nobody looked at the signature: there is no list of makers to trust, and
   * whoever changes a file can take its signature away as well.
   */
  hasUncheckedSignature: boolean;
};

const COUNTER_MAX = 2 ** 48;
const DRIFT_MAX_STEPS = 100;

/**
 * Reads a Portable Symmetric Key Container (RFC 6030) with HOTP and TOTP keys, plain or encrypted
 * under a pre-shared key or a password (AES-CBC with a MAC). What is not said: 6 digits, SHA-1, 30
 * seconds, counter 0. The user is the key's or device's `UserId`, of a distinguished name its UID or
 * CN. Bounds: 20 MiB, 1,500,000 of `<` and `=` (some 50,000 keys), 32 elements deep, 1,024
 * characters a value, 1,000,000 iterations. It computes for some seconds at those bounds.
 * @throws TokenFileError when the file as a whole cannot be read: not PSKC, key or password missing
 *   or wrong, a bad or missing MAC anywhere
 */
export async function readPskc(
  file: Uint8Array | string,
  options: PskcOptions = {},
): Promise<ReadPskc> {
  const container = readContainer(decodeFile(file));
  const keys = elements(container, 'KeyPackage').flatMap((keyPackage) =>
    elements(keyPackage, 'Key').map((key) => ({ device: element(keyPackage, 'DeviceInfo'), key })),
  );
  const openSecret = await secretOpener(container, options);

  const read: ReadTokens = { tokens: [], refused: [] };
  for (const [index, about] of keys.entries()) {
    const at = index + 1;
    const token = readKey(about, openSecret);
    if (typeof token === 'string') {
      read.refused.push({ at, cells: cellsOf(about), error: token });
    } else read.tokens.push({ at, token });
  }
  const hasUncheckedSignature = elements(container, 'Signature').length > 0;
  return { ...refuseDuplicates(read, 'key'), hasUncheckedSignature };
}

function readContainer(text: string): XmlElement {
  const container = element(parseXml(text), 'KeyContainer');
  if (!container) throw new TokenFileError('not a PSKC file: it has no KeyContainer');
  const version = attribute(container, 'Version');
  if (version !== '1.0' && version !== '1') {
    throw new TokenFileError('only version 1.0 of PSKC is supported');
  }
  return container;
}

type About = { device: XmlElement | undefined; key: XmlElement };

/** The token, or what is wrong with it. */
function readKey({ device, key }: About, openSecret: OpenSecret): ImportedToken | string {
  const secretElement = element(element(key, 'Data'), 'Secret');
  if (!secretElement) return 'has no secret';
  // Opened even of a key that will be refused: its MAC speaks for the whole file.
  const secret = openSecret(secretElement);
  const moves = readMoves(key);
  if (typeof moves === 'string') return moves;
  const suite = textOf(element(key, 'AlgorithmParameters'), 'Suite') ?? 'HMAC-SHA1';
  const bits = /^(?:HMAC-?)?SHA-?(1|256|512)$/i.exec(suite)?.[1] as '1' | '256' | '512' | undefined;
  if (!bits) return 'its suite is not HMAC with SHA1, SHA256 or SHA512';
  const digits = readDigits(key);
  if (typeof digits === 'string') return digits;

  const names = namesOf({ device, key });
  const expiresAt = textOf(element(key, 'Policy'), 'ExpiryDate') ?? textOf(device, 'ExpiryDate');
  const problem =
    problemOfNames(names) ??
    checkTokenSecret(secret) ??
    problemOfPolicy(element(key, 'Policy')) ??
    (expiresAt && !isInstant(expiresAt) ? 'its expiry date is not a moment in time' : null);
  if (problem) return problem;
  return {
    ...moves,
    ...names,
    secret,
    algorithm: `SHA${bits}`,
    digits,
    ...(expiresAt && { expiresAt: new Date(expiresAt).toISOString() }),
  };
}

function readMoves(key: XmlElement): TokenMoves | string {
  const algorithm = attribute(key, 'Algorithm') ?? '';
  const type = /(?:^|[:#])(hotp|totp)$/i.exec(algorithm)?.[1]?.toLowerCase();
  if (type === 'hotp') {
    const counter = readInteger(key, 'Counter') ?? 0;
    if (!(counter >= 0 && counter <= COUNTER_MAX)) return 'its counter is not from 0 to 2^48';
    return { type, initialCounter: counter };
  }
  if (type !== 'totp') return 'its algorithm is neither HOTP nor TOTP';
  const period = readInteger(key, 'TimeInterval') ?? 30;
  if (period !== 30 && period !== 60) return 'its time interval is not 30 or 60 seconds';
  const driftSteps = readInteger(key, 'TimeDrift');
  if (driftSteps === undefined) return { type, periodSeconds: period };
  if (!(Math.abs(driftSteps) <= DRIFT_MAX_STEPS)) return 'its time drift is beyond 100 steps';
  return { type, periodSeconds: period, driftSteps };
}

/** NaN for what is encrypted, or no number of at most 15 digits. */
function readInteger(key: XmlElement, name: string): number | undefined {
  const value = element(element(key, 'Data'), name);
  if (!value) return undefined;
  const text = textOf(value, 'PlainValue') ?? '';
  return /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
}

function readDigits(key: XmlElement): ImportedToken['digits'] | string {
  const format = element(element(key, 'AlgorithmParameters'), 'ResponseFormat');
  const encoding = attribute(format, 'Encoding') ?? 'DECIMAL';
  const hasCheckDigits = ['true', '1'].includes(attribute(format, 'CheckDigits') ?? 'false');
  if (encoding !== 'DECIMAL' || hasCheckDigits) return 'its codes are not plain decimal digits';
  const length = attribute(format, 'Length') ?? '6';
  if (!/^[678]$/.test(length)) return 'its codes have not 6, 7 or 8 digits';
  return Number(length) as ImportedToken['digits'];
}

/** RFC 6030 5: a key with a policy that is not understood must not be used. */
function problemOfPolicy(policy: XmlElement | undefined): string | null {
  if (!policy) return null;
  const known = ['StartDate', 'ExpiryDate', 'KeyUsage', 'PINPolicy', '#text'];
  if (Object.keys(policy).some((name) => !name.startsWith('@') && !known.includes(name))) {
    return 'it has a policy that is not supported';
  }
  const usages = elements(policy, 'KeyUsage').map((usage) => usage['#text']);
  if (usages.length > 0 && !usages.includes('OTP')) return 'it is not meant for one-time codes';
  const pinMode = attribute(element(policy, 'PINPolicy'), 'PINUsageMode') ?? 'Local';
  // Any other PIN changes what the user types or what the token shows.
  return pinMode === 'Local' ? null : 'its codes need a PIN of its own';
}

type Names = Pick<ImportedToken, 'username' | 'serial' | 'manufacturer' | 'model'>;

function namesOf({ device, key }: About): Names {
  const username = personOf(textOf(key, 'UserId')) ?? personOf(textOf(device, 'UserId'));
  const serial = textOf(device, 'SerialNo');
  const manufacturer = textOf(device, 'Manufacturer');
  const model = textOf(device, 'Model');
  return {
    ...(username && { username }),
    ...(serial && { serial }),
    ...(manufacturer && { manufacturer }),
    ...(model && { model }),
  };
}

function personOf(userId: string | undefined): string | undefined {
  if (!userId || !/^[a-z]+\s*=/i.test(userId)) return userId;
  return /^(?:uid|cn)\s*=([^,+\\]+)/i.exec(userId)?.[1]?.trim();
}

function problemOfNames({ username, serial, manufacturer, model }: Names): string | null {
  return (
    (username ? checkUsername(username) : null) ??
    checkName('the serial number', serial ?? '') ??
    checkName('the manufacturer', manufacturer ?? '') ??
    checkName('the model', model ?? '')
  );
}

// Without its zone it would be another moment on another server.
function isInstant(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT[\d:.]{8,16}(?:Z|[+-]\d\d:\d\d)$/.test(text) && !isNaN(Date.parse(text));
}

function cellsOf(about: About): TokenCells {
  const names = namesOf(about);
  return maskStraySecrets({
    upn: names.username ?? '',
    serialNumber: names.serial ?? '',
    timeInterval: textOf(element(element(about.key, 'Data'), 'TimeInterval'), 'PlainValue') ?? '',
    manufacturer: names.manufacturer ?? '',
    model: names.model ?? '',
  });
}
