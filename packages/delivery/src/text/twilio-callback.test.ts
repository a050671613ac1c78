import { createHmac } from 'node:crypto';

import { describe, expect, it, vi } from 'vitest';

import { seededRandom } from '../seeded-trial.ts';
import { twilioSettings } from '../settings-schema.ts';
import { callbackAuthToken, readTwilioCallback, verifyTwilioSignature } from './twilio-callback.ts';

// A million takes minutes: `npm run soak -- --fuzz`.
const IS_LONG = process.env.COUNTERSIGN_LONG === '1';
const INPUTS = IS_LONG ? 1_000_000 : 20_000;
if (IS_LONG) vi.setConfig({ testTimeout: 1_800_000 });

// The example of twilio.com/docs/usage/security and the tests of Twilio's own libraries.
const authToken = '12345';
const publicUrl = 'https://mycompany.com/myapp.php?foo=1&bar=2';
const parameters: [string, string][] = [
  ['CallSid', 'CA1234567890ABCDE'],
  ['Caller', '+14158675309'],
  ['Digits', '1234'],
  ['From', '+14158675309'],
  ['To', '+18005551212'],
];
const signature = 'RSOYDt4T1cUTdK1PDd93/VVr8B8=';

const sign = (body: string, url = publicUrl, token = authToken) => {
  const sorted = [...new URLSearchParams(body)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return createHmac('sha1', token)
    .update(url + sorted.flat().join(''))
    .digest('base64');
};

const read = (body: string, changes: object = {}) =>
  readTwilioCallback({ body, signature: sign(body), authToken, publicUrl, ...changes });

describe('signature', () => {
  it("Twilio's published examples stand, whatever the order", () => {
    const signed = { authToken, publicUrl, parameters, signature };
    expect(verifyTwilioSignature(signed)).toBe(true);
    expect(verifyTwilioSignature({ ...signed, parameters: parameters.toReversed() })).toBe(true);
    const repeated: [string, string][] = [
      ['Sid', 'CA123'],
      ['SidAccount', 'AC123'],
      ['Digits', '5678'],
      ['Digits', '1234'],
      ['Digits', '1234'],
    ];
    const ofRepeated = 'IK+Dwps556ElfBT0I3Rgjkr1wJU=';
    const both = { ...signed, parameters: repeated, signature: ofRepeated };
    expect(verifyTwilioSignature(both)).toBe(true);
  });

  it('another value, name, URL, token or signature does not stand', () => {
    const signed = { authToken, publicUrl, parameters, signature };
    const [first, ...others] = parameters as [[string, string], ...[string, string][]];
    const changes: Partial<typeof signed & { signature: string | undefined }>[] = [
      { authToken: '12346' },
      { authToken: '' },
      { publicUrl: `${publicUrl}&x=1` },
      { publicUrl: publicUrl.replace('https', 'http') },
      { parameters: others },
      { parameters: [['CallSid', 'CA1234567890ABCDF'], ...others] },
      { parameters: [first, ...others, ['X', '1']] },
      { signature: undefined },
      { signature: '' },
      { signature: signature.slice(0, -4) },
      { signature: `${signature}AAAA` },
      { signature: 'AAAA'.repeat(100_000) },
      { signature: signature.toLowerCase() },
    ];
    for (const change of changes) {
      expect([change, verifyTwilioSignature({ ...signed, ...change })]).toEqual([change, false]);
    }
  });

  it('nobody signs for an empty token', () => {
    const body = 'MessageSid=SM1&MessageStatus=delivered';
    const forged = { signature: sign(body, publicUrl, '') };
    expect(read(body, { ...forged, authToken: '' })).toMatchObject({ reason: 'bad_signature' });
  });
});

it('an API key signs no callbacks', () => {
  const settings = twilioSettings.parse({
    kind: 'twilio',
    name: 'a',
    accountSid: 'AC1',
    secret: 'token',
    from: 'Acme',
  });
  expect(callbackAuthToken(settings)).toBe('token');
  const withKey = { ...settings, apiKeySid: 'SK1', secret: 'key-secret' };
  expect(callbackAuthToken(withKey)).toBeUndefined();
  expect(callbackAuthToken({ ...withKey, callbackSecret: 'token' })).toBe('token');
});

describe('callback', () => {
  it('a status tells whose it is and what went wrong', () => {
    const body = 'MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003&To=%2B31612345678';
    expect(read(body)).toEqual({
      verdict: 'accepted',
      callback: { kind: 'status', messageSid: 'SM1', status: 'undelivered', errorCode: 30003 },
    });
  });

  it('an inbound text tells who sent it and what', () => {
    const body = 'MessageSid=SM2&SmsStatus=received&From=%2B31612345678&Body=123456+1234';
    expect(read(body)).toEqual({
      verdict: 'accepted',
      callback: { kind: 'inbound', messageSid: 'SM2', from: '+31612345678', text: '123456 1234' },
    });
  });

  it('the signature counts for the configured URL, not for the one a request came by', () => {
    const body = 'MessageSid=SM1&MessageStatus=sent';
    const elsewhere = { signature: sign(body, 'https://evil.example/') };
    expect(read(body, elsewhere)).toEqual({ verdict: 'refused', reason: 'bad_signature' });
  });

  it('a callback that says a thing twice, or nothing, is malformed', () => {
    for (const body of [
      '',
      'MessageStatus=sent',
      'MessageSid=SM1&MessageSid=SM2&MessageStatus=sent',
      'MessageSid=SM1&MessageStatus=sent&MessageStatus=failed',
      'MessageSid=..%2F&MessageStatus=sent',
      'MessageSid=SM1&MessageStatus=SENT!',
      'MessageSid=SM1&From=%2B31612345678',
      'MessageSid=SM1&From=Acme&Body=123456',
      'MessageSid=SM1&From=%2B31612345678&From=%2B31687654321&Body=1',
      'MessageSid=SM1&From=%2B31612345678&From=%2B31612345678&Body=1',
      'MessageSid=SM1&From=%2B31612345678&From%2B31687654321=FromCity&Body=1',
    ]) {
      const parameters = [...new URLSearchParams(body)];
      const names = [...new Set(parameters.map(([name]) => name))].sort();
      const text = names.map((name) =>
        [...new Set(parameters.filter(([other]) => other === name).map(([, value]) => value))]
          .sort()
          .map((value) => name + value)
          .join(''),
      );
      const hmac = createHmac('sha1', authToken).update(publicUrl + text.join(''));
      const answer = read(body, { signature: hmac.digest('base64') });
      expect([body, answer]).toEqual([body, { verdict: 'refused', reason: 'malformed' }]);
    }
  });

  it('what is too large is refused before it is looked at', () => {
    const long = `MessageSid=SM1&MessageStatus=sent&x=${'a'.repeat(17_000)}`;
    expect(read(long)).toEqual({ verdict: 'refused', reason: 'too_large' });
    const many = Array.from({ length: 200 }, (_, index) => `a${index}=1`).join('&');
    expect(read(many)).toEqual({ verdict: 'refused', reason: 'too_large' });
  });

  it('20,000 mangled callbacks are refused or read, and only the genuine one is itself', () => {
    const random = seededRandom(4);
    const body = 'MessageSid=SM1&MessageStatus=sent&From=%2B31612345678&Body=1';
    const genuine = sign(body);
    const asSent = new URLSearchParams(body).toString();
    const wrong: string[] = [];
    let accepted = 0;
    for (let round = 0; round < INPUTS; round += 1) {
      const bytes = Buffer.from(body);
      for (let change = random(4); change >= 0; change -= 1) {
        bytes[random(bytes.length)] = random(256);
      }
      const mangled = random(2) === 0 ? bytes : Buffer.concat([bytes, bytes.subarray(random(40))]);
      const signed = random(2) === 0 ? genuine : sign(mangled.toString());
      const answer = readTwilioCallback({ body: mangled, signature: signed, authToken, publicUrl });
      if (answer.verdict === 'refused') continue;
      accepted += 1;
      const { callback } = answer;
      const isFine =
        /^[\w-]{1,64}$/.test(callback.messageSid) &&
        (callback.kind === 'status'
          ? /^[a-z_]{1,32}$/.test(callback.status)
          : /^\+\d{8,15}$/.test(callback.from));
      const said = new URLSearchParams(mangled.toString()).toString();
      if (!isFine || (signed === genuine && said !== asSent)) wrong.push(said);
    }
    expect(wrong).toEqual([]);
    expect(accepted).toBeGreaterThan(100);
  });
});
