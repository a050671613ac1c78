import { describe, expect, it } from 'vitest';

import { findValue, makeAttribute } from './attribute-values.ts';
import {
  hideSalted,
  hideUserPassword,
  makeSalts,
  reencryptAttributes,
  revealSalted,
  revealUserPassword,
} from './hidden-attributes.ts';
import { decodePacket } from './radius-packet.ts';
import { rfcPackets, rfcSecret } from './testing/rfc-packets.ts';

const exchange = { secret: rfcSecret, authenticator: Buffer.alloc(16, 3) };
const other = { secret: Buffer.from('target secret'), authenticator: Buffer.alloc(16, 4) };

describe('User-Password', () => {
  it.each([
    ['telnet', 'arctangent'],
    ['challenge', 'challenge'],
  ] as const)('of RFC 2865 §7 is revealed and hidden the same: %s', (name, password) => {
    const decoded = decodePacket(rfcPackets[name].request);
    if ('malformation' in decoded) throw new Error(decoded.malformation);
    const { attributes, authenticator } = decoded.packet;
    const hidden = findValue(attributes, 'User-Password') as Buffer;
    const own = { secret: rfcSecret, authenticator };
    expect(revealUserPassword(hidden, own)?.toString()).toBe(password);
    expect(hideUserPassword(Buffer.from(password), own).equals(hidden)).toBe(true);
  });

  it.each([0, 1, 15, 16, 17, 127, 128])(
    'of %i bytes comes back, also if they are no UTF-8',
    (n) => {
      const password = Buffer.alloc(n, 0xff);
      const hidden = hideUserPassword(password, exchange);
      expect(hidden.length).toBe(Math.max(Math.ceil(n / 16) * 16, 16));
      expect(revealUserPassword(hidden, exchange)?.equals(password)).toBe(true);
    },
  );

  it('of 129 bytes is refused, as are hidden ones of a wrong length', () => {
    expect(() => hideUserPassword(Buffer.alloc(129), exchange)).toThrow('at most 128');
    for (const length of [0, 15, 17, 144]) {
      expect(revealUserPassword(Buffer.alloc(length), exchange)).toBeNull();
    }
  });
});

describe('salted keys', () => {
  it.each([0, 1, 15, 16, 32, 239])('of %i bytes come back', (n) => {
    const key = Buffer.alloc(n, 0xab);
    const hidden = hideSalted(key, Buffer.from([0x80, 5]), exchange);
    expect(revealSalted(hidden, exchange)?.equals(key)).toBe(true);
  });

  it('that would not fit are refused', () => {
    expect(() => hideSalted(Buffer.alloc(240), Buffer.from([0x80, 5]), exchange)).toThrow('fit');
  });

  it('of a wrong form are null: no salt bit, no whole block, a length beyond the end', () => {
    const hidden = hideSalted(Buffer.alloc(15, 1), Buffer.from([0x80, 5]), exchange);
    expect(revealSalted(hidden.subarray(0, 17), exchange)).toBeNull();
    expect(revealSalted(Buffer.alloc(0), exchange)).toBeNull();
    const withoutBit = Buffer.from(hidden);
    withoutBit[0] = 0;
    expect(revealSalted(withoutBit, exchange)).toBeNull();
    const tooLong = Buffer.from(hidden);
    tooLong[2] = (tooLong[2] ?? 0) ^ 15 ^ 16;
    expect(revealSalted(tooLong, exchange)).toBeNull();
  });

  it('get salts that differ within a packet and have their first bit set', () => {
    const next = makeSalts();
    const salts = Array.from({ length: 200 }, () => next());
    expect(new Set(salts.map((salt) => salt.toString('hex'))).size).toBe(200);
    expect(salts.every((salt) => salt.length === 2 && (salt[0] ?? 0) >= 0x80)).toBe(true);
  });
});

describe('reencryptAttributes', () => {
  const salt = Buffer.from([0x90, 1]);
  const key = Buffer.alloc(16, 0x5a);
  const tunnel = Buffer.concat([
    Buffer.from([1]),
    hideSalted(Buffer.from('tunnel'), salt, exchange),
  ]);
  // Its zero bytes at the end are part of the keys.
  const mppeKeys = Buffer.concat([Buffer.alloc(24, 6), Buffer.alloc(8)]);

  it('opens what one exchange hid and hides it for another, and leaves the rest alone', () => {
    const attributes = [
      makeAttribute('Reply-Message', 'hello'),
      makeAttribute('Tunnel-Password', tunnel),
      makeAttribute('MS-MPPE-Recv-Key', hideSalted(key, salt, exchange)),
      makeAttribute('MS-CHAP-MPPE-Keys', hideUserPassword(mppeKeys, exchange)),
      makeAttribute('User-Password', hideUserPassword(Buffer.from('secret'), exchange)),
    ];
    const again = reencryptAttributes(attributes, { from: exchange, to: other }) ?? [];
    expect(again.map(({ type }) => type)).toEqual([18, 69, 26, 26, 2]);
    expect(again[0]).toEqual(attributes[0]);
    const value = (name: Parameters<typeof findValue>[1]) => findValue(again, name) as Buffer;
    expect(value('Tunnel-Password')[0]).toBe(1);
    expect(revealSalted(value('Tunnel-Password').subarray(1), other)?.toString()).toBe('tunnel');
    expect(revealSalted(value('MS-MPPE-Recv-Key'), other)?.equals(key)).toBe(true);
    const keys = revealUserPassword(value('MS-CHAP-MPPE-Keys'), other);
    expect(keys?.equals(mppeKeys.subarray(0, 24))).toBe(true);
    expect(value('MS-CHAP-MPPE-Keys').length).toBe(32);
    expect(revealUserPassword(value('User-Password'), other)?.toString()).toBe('secret');
  });

  it('gives null when one cannot be opened', () => {
    const attributes = [makeAttribute('MS-MPPE-Send-Key', Buffer.alloc(7))];
    expect(reencryptAttributes(attributes, { from: exchange, to: other })).toBeNull();
  });
});
