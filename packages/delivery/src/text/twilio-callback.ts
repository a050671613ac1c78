import { createHmac, timingSafeEqual } from 'node:crypto';

import type { TwilioSettings } from '../settings-schema.ts';
import { isE164 } from './is-e164.ts';

/** A text's fate, or a text that somebody sent us. */
export type TwilioCallback =
  | { kind: 'status'; messageSid: string; status: string; errorCode?: number }
  | { kind: 'inbound'; messageSid: string; from: string; text: string };

export type CallbackVerdict =
  | { verdict: 'accepted'; callback: TwilioCallback }
  | { verdict: 'refused'; reason: 'too_large' | 'malformed' | 'bad_signature' };

/** What signs an account's callbacks: never an API key's secret. Undefined where it is not known. */
export function callbackAuthToken(settings: TwilioSettings): string | undefined {
  return settings.apiKeySid === undefined ? settings.secret : settings.callbackSecret;
}

const maxBodyBytes = 16 * 1024;
const maxParameters = 100;

/**
 * Reads a callback's form body once its signature stands. `publicUrl` is the one in the settings,
 * query included, never what the request said. A genuine callback can be delivered again: using each
 * (messageSid, status) or inbound messageSid once is the caller's.
 */
export function readTwilioCallback(request: {
  body: string | Buffer;
  signature: string | undefined;
  authToken: string;
  publicUrl: string;
}): CallbackVerdict {
  const { body, signature, authToken, publicUrl } = request;
  if (Buffer.byteLength(body) > maxBodyBytes) return { verdict: 'refused', reason: 'too_large' };
  const parameters = [...new URLSearchParams(body.toString())];
  if (parameters.length > maxParameters) return { verdict: 'refused', reason: 'too_large' };
  if (!verifyTwilioSignature({ authToken, publicUrl, parameters, signature })) {
    return { verdict: 'refused', reason: 'bad_signature' };
  }
  const callback = parseParameters(parameters);
  return callback ? { verdict: 'accepted', callback } : { verdict: 'refused', reason: 'malformed' };
}

/**
 * HMAC-SHA1 over the URL and, sorted by name, each parameter's name and value; values of a repeated
 * name sorted, each once (twilio.com/docs/usage/security). Compared in constant time.
 */
export function verifyTwilioSignature(signed: {
  authToken: string;
  publicUrl: string;
  parameters: readonly (readonly [name: string, value: string])[];
  signature: string | undefined;
}): boolean {
  const { authToken, publicUrl, parameters, signature = '' } = signed;
  // An empty token would be a signature that everybody can make.
  if (authToken === '') return false;
  const pairs = new Map<string, Set<string>>();
  for (const [name, value] of parameters) {
    pairs.set(name, (pairs.get(name) ?? new Set<string>()).add(value));
  }
  const sorted = [...pairs.keys()].sort();
  const text = sorted.flatMap((name) => [...(pairs.get(name) ?? [])].sort().map((v) => name + v));
  const wanted = createHmac('sha1', authToken)
    .update(publicUrl + text.join(''))
    .digest('base64');
  return isSame(wanted, signature);
}

function isSame(one: string, other: string): boolean {
  const [wanted, given] = [Buffer.from(one), Buffer.from(other)];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/**
 * The signed text says neither where a name ends nor how often a pair came: whoever saw a signature
 * could cut its text in other places. Plain names that come once leave little room for that.
 */
function parseParameters(parameters: readonly [string, string][]): TwilioCallback | undefined {
  const said = new Map(parameters);
  const arePlain = parameters.every(([name]) => /^[A-Za-z0-9_]{1,64}$/.test(name));
  if (said.size !== parameters.length || !arePlain) return undefined;
  const read = (name: string) => said.get(name);
  const messageSid = read('MessageSid');
  if (!messageSid || !/^[\w-]{1,64}$/.test(messageSid)) return undefined;
  // An inbound text has `SmsStatus=received` and no MessageStatus.
  if (said.has('MessageStatus')) {
    const status = read('MessageStatus');
    if (!status || !/^[a-z_]{1,32}$/.test(status)) return undefined;
    const code = read('ErrorCode') ?? '';
    const errorCode = /^[0-9]{1,9}$/.test(code) ? Number(code) : undefined;
    return { kind: 'status', messageSid, status, ...(errorCode !== undefined && { errorCode }) };
  }
  const from = read('From');
  const text = read('Body');
  if (from === undefined || !isE164(from) || text === undefined) return undefined;
  return { kind: 'inbound', messageSid, from, text: text.slice(0, 1_600) };
}
