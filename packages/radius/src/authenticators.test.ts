import { createHmac } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { findText, makeAttribute } from './attribute-values.ts';
import {
  checkMessageAuthenticator,
  checkRequestAuthenticator,
  checkResponseAuthenticator,
  signReply,
  signRequest,
} from './authenticators.ts';
import { rfcPackets, rfcSecret as secret } from './testing/rfc-packets.ts';

const wrong = Buffer.from('xyzzy5462');
const attributes = [makeAttribute('User-Name', 'nemo'), makeAttribute('NAS-Port', 7)];

describe('response authenticators', () => {
  it.each(['telnet', 'chap', 'challenge', 'brokenAnswer', 'status'] as const)(
    'of the RFC packets are right with their secret only: %s',
    (name) => {
      const { request, reply } = rfcPackets[name];
      const requestAuthenticator = request.subarray(4, 20);
      expect(checkResponseAuthenticator(reply, { secret, requestAuthenticator })).toBe(true);
      expect(checkResponseAuthenticator(reply, { secret: wrong, requestAuthenticator })).toBe(
        false,
      );
    },
  );

  it('are made as in RFC 5997 §6.1', () => {
    const request = { identifier: 0xda, authenticator: rfcPackets.status.request.subarray(4, 20) };
    const options = { secret, withMessageAuthenticator: false };
    const reply = signReply({ code: 2, attributes: [] }, request, options);
    expect(reply.equals(rfcPackets.status.reply)).toBe(true);
  });
});

describe('Message-Authenticator', () => {
  it.each(['status', 'accountingStatus'] as const)('of RFC 5997 §6 is valid: %s', (name) => {
    expect(checkMessageAuthenticator(rfcPackets[name].request, { secret })).toBe('valid');
    expect(checkMessageAuthenticator(rfcPackets[name].request, { secret: wrong })).toBe('invalid');
  });

  it('is made as in RFC 5997 §6.1', () => {
    const { request } = rfcPackets.status;
    const authenticator = request.subarray(4, 20);
    const made = signRequest({ code: 12, identifier: 218, authenticator, attributes: [] }, secret);
    expect(made.equals(request)).toBe(true);
  });

  it('stands first in requests and replies, once, whatever was given', () => {
    const given = [...attributes, { type: 80, value: Buffer.alloc(16, 9) }];
    const request = signRequest({ code: 1, identifier: 3, attributes: given }, secret);
    const reply = signReply(
      { code: 3, attributes: given },
      { identifier: 3, authenticator: request.subarray(4, 20) },
      { secret, withMessageAuthenticator: true },
    );
    const requestAuthenticator = request.subarray(4, 20);
    expect([request[20], request[21], reply[20], reply[21]]).toEqual([80, 18, 80, 18]);
    expect(checkMessageAuthenticator(request, { secret })).toBe('valid');
    expect(checkMessageAuthenticator(reply, { secret, requestAuthenticator })).toBe('valid');
    expect(checkMessageAuthenticator(reply, { secret })).toBe('invalid');
  });

  it('is valid in any place, for the sender chooses it', () => {
    const request = signRequest({ code: 1, identifier: 3, attributes: [] }, secret);
    const moved = Buffer.concat([
      request.subarray(0, 20),
      Buffer.from('0103', 'hex'),
      Buffer.from('a'),
    ]);
    const atEnd = Buffer.concat([moved, Buffer.from([80, 18]), Buffer.alloc(16)]);
    atEnd.writeUInt16BE(atEnd.length, 2);
    expect(checkMessageAuthenticator(atEnd, { secret })).toBe('invalid');
    hmacInto(atEnd, atEnd.length - 16);
    expect(checkMessageAuthenticator(atEnd, { secret })).toBe('valid');
  });

  it('is invalid when there are two, or it has not 16 bytes', () => {
    const { request } = rfcPackets.status;
    const twice = Buffer.concat([request, request.subarray(20)]);
    expect(checkMessageAuthenticator(twice, { secret })).toBe('invalid');
    const short = Buffer.concat([request.subarray(0, 20), Buffer.from([80, 3, 1])]);
    expect(checkMessageAuthenticator(short, { secret })).toBe('invalid');
  });

  it('is invalid after the change of any single byte of the packet', () => {
    const request = signRequest({ code: 1, identifier: 3, attributes }, secret);
    for (let at = 0; at < request.length; at += 1) {
      const changed = Buffer.from(request);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect([at, checkMessageAuthenticator(changed, { secret })]).not.toEqual([at, 'valid']);
    }
  });
});

describe('request authenticators', () => {
  it.each([4, 40, 43])('of code %i are computed, and wrong with another secret', (code) => {
    const request = signRequest({ code, identifier: 9, attributes }, secret);
    expect(checkRequestAuthenticator(request, secret)).toBe(true);
    expect(checkRequestAuthenticator(request, wrong)).toBe(false);
    request[request.length - 1] = 8;
    expect(checkRequestAuthenticator(request, secret)).toBe(false);
  });

  it('of Access-Requests are never the same', () => {
    const make = () => signRequest({ code: 1, identifier: 9, attributes }, secret).subarray(4, 20);
    expect(make().equals(make())).toBe(false);
    expect(findText(attributes, 'User-Name')).toBe('nemo');
  });
});

// The HMAC by node:crypto alone, apart from what is tested.
function hmacInto(bytes: Buffer, at: number): void {
  createHmac('md5', secret).update(bytes).digest().copy(bytes, at);
}
