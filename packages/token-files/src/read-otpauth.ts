import {
  Base32Error,
  OTP_ALGORITHMS,
  checkUsername,
  decodeBase32,
  isSafeText,
} from '@countersign/verification';
import { TokenFileError, checkName, checkTokenSecret } from './imported-token.ts';
import type { ImportedToken, TokenMoves } from './imported-token.ts';

const URI_MAX_CHARS = 2048;
const COUNTER_MAX = 2 ** 48;

/**
 * Reads the URI an authenticator app scans (the "Key URI Format"), the inverse of `otpauthUri`.
 * The account becomes the username. What is not said has the format's default: SHA-1, 6 digits,
 * 30 seconds; a HOTP counter has none. Unknown parameters are left alone. At most 2,048 characters.
 * @throws TokenFileError saying what is wrong, never repeating the text
 */
export function readOtpauth(text: string): { issuer?: string; token: ImportedToken } {
  const uri = parseUri(text.trim());
  const { issuer: labelIssuer, account } = readLabel(uri.pathname);
  const issuer = parameter(uri, 'issuer') ?? labelIssuer;
  const problem = checkUsername(account) ?? checkName('the issuer', issuer);
  if (problem) throw new TokenFileError(problem);
  return {
    ...(issuer && { issuer }),
    token: {
      ...readMoves(uri),
      username: account,
      secret: readSecret(uri),
      algorithm: readAlgorithm(uri),
      digits: readDigits(uri),
    },
  };
}

function parseUri(text: string): URL {
  if (text.length > URI_MAX_CHARS) throw new TokenFileError('the URI is too long');
  // URL would silently leave out line breaks and tabs.
  if (!isSafeText(text)) throw new TokenFileError('the URI has control or invisible characters');
  const uri = URL.parse(text);
  if (uri?.protocol !== 'otpauth:') throw new TokenFileError('not an otpauth:// URI');
  if (uri.username || uri.password || uri.port || uri.hash) {
    throw new TokenFileError('an otpauth URI has a type, a label and parameters, nothing else');
  }
  return uri;
}

/** `issuer:account` or `account`; the colon and what surrounds it may be escaped. */
function readLabel(path: string): { issuer: string; account: string } {
  let label: string;
  try {
    label = decodeURIComponent(path.replace(/^\//, ''));
  } catch {
    throw new TokenFileError('the label is not UTF-8');
  }
  const colon = label.indexOf(':');
  return {
    issuer: label.slice(0, Math.max(colon, 0)).trim(),
    account: label.slice(colon + 1).trim(),
  };
}

function parameter(uri: URL, name: string): string | undefined {
  const values = uri.searchParams.getAll(name);
  // Readers differ in which of two they take.
  if (values.length > 1) throw new TokenFileError(`${name} is given twice`);
  return values[0];
}

function readMoves(uri: URL): TokenMoves {
  // The type is where other URIs have their host.
  if (uri.host.toLowerCase() === 'totp') {
    const period = parameter(uri, 'period') ?? '30';
    if (period !== '30' && period !== '60') throw new TokenFileError('period is not 30 or 60');
    return { type: 'totp', periodSeconds: period === '30' ? 30 : 60 };
  }
  if (uri.host.toLowerCase() !== 'hotp') throw new TokenFileError('the type is not totp or hotp');
  const counter = parameter(uri, 'counter') ?? '';
  if (!/^\d{1,15}$/.test(counter) || Number(counter) > COUNTER_MAX) {
    throw new TokenFileError('counter is not a number from 0 to 2^48');
  }
  return { type: 'hotp', initialCounter: Number(counter) };
}

function readSecret(uri: URL): Buffer {
  try {
    const secret = decodeBase32(parameter(uri, 'secret') ?? '');
    const problem = checkTokenSecret(secret);
    if (problem) throw new TokenFileError(problem);
    return secret;
  } catch (error) {
    if (error instanceof Base32Error) throw new TokenFileError(`secret: ${error.message}`);
    throw error;
  }
}

function readAlgorithm(uri: URL): ImportedToken['algorithm'] {
  const given = (parameter(uri, 'algorithm') ?? 'SHA1').toUpperCase();
  const algorithm = OTP_ALGORITHMS.find((known) => known === given);
  if (!algorithm) throw new TokenFileError('algorithm is not SHA1, SHA256 or SHA512');
  return algorithm;
}

function readDigits(uri: URL): ImportedToken['digits'] {
  const digits = parameter(uri, 'digits') ?? '6';
  if (!/^[678]$/.test(digits)) throw new TokenFileError('digits is not 6, 7 or 8');
  return Number(digits) as ImportedToken['digits'];
}
