import { expect, it } from 'vitest';

import { makeAttribute } from './attribute-values.ts';
import { makeJoinContent } from './join-content.ts';
import type { Attribute } from './radius-packet.ts';
import { findSignInProtocol, readMschapV2, readMschapV2Change } from './sign-in-protocol.ts';

const name = makeAttribute('User-Name', 'alice');
const station = makeAttribute('Calling-Station-Id', '192.0.2.7');

function contentOf(
  attributes: readonly Attribute[],
  { password = null, authenticator = 1 }: { password?: string | null; authenticator?: number } = {},
): string {
  return makeJoinContent({
    code: 1,
    authenticator: Buffer.alloc(16, authenticator),
    attributes,
    password: password === null ? null : Buffer.from(password),
  }).toString('hex');
}

it('is the same for a sign-in sent again with another identifier, authenticator and proxy', () => {
  const hidden = (byte: number) => makeAttribute('User-Password', Buffer.alloc(16, byte));
  const first = contentOf([name, hidden(1), station], { password: 'secret' });
  const again = [
    { type: 80, value: Buffer.alloc(16) },
    name,
    hidden(2),
    station,
    makeAttribute('Event-Timestamp', 7),
    makeAttribute('Acct-Delay-Time', 7),
    makeAttribute('Proxy-State', 'x'),
  ];
  expect(contentOf(again, { password: 'secret', authenticator: 2 })).toBe(first);
});

it('differs with any other attribute, the password, the order, or where one value ends', () => {
  const hidden = makeAttribute('User-Password', Buffer.alloc(16));
  const contents = [
    contentOf([name, hidden, station], { password: 'secret' }),
    contentOf([name, hidden, station], { password: 'secret2' }),
    contentOf([name, hidden], { password: 'secret' }),
    contentOf([name, hidden, station, makeAttribute('NAS-Port', 1)], { password: 'secret' }),
    contentOf([station, name, hidden], { password: 'secret' }),
    contentOf([makeAttribute('User-Name', 'alic'), makeAttribute('Class', 'e')]),
    contentOf([makeAttribute('User-Name', 'alice'), makeAttribute('Class', '')]),
  ];
  expect(new Set(contents).size).toBe(contents.length);
});

it('holds the challenge of CHAP, also where that is the authenticator', () => {
  const chap = makeAttribute('CHAP-Password', Buffer.alloc(17, 1));
  const first = contentOf([name, chap], { authenticator: 1 });
  expect(contentOf([name, chap], { authenticator: 2 })).not.toBe(first);
  const challenge = makeAttribute('CHAP-Challenge', Buffer.alloc(16, 9));
  expect(contentOf([name, chap, challenge], { authenticator: 1 })).toBe(
    contentOf([name, chap, challenge], { authenticator: 2 }),
  );
});

it.each([
  ['User-Password', 'pap'],
  ['CHAP-Password', 'chap'],
  ['MS-CHAP-Response', 'mschap'],
  ['MS-CHAP2-Response', 'mschapv2'],
  ['MS-CHAP2-CPW', 'mschapv2-change'],
  ['EAP-Message', 'eap'],
  ['User-Name', 'none'],
] as const)('a request with %s signs in by %s', (attribute, protocol) => {
  expect(findSignInProtocol([makeAttribute(attribute, Buffer.alloc(16))])).toBe(protocol);
});

it('MSCHAPv2 is read only when challenge and response are whole and there once', () => {
  const challenge = makeAttribute('MS-CHAP-Challenge', Buffer.alloc(16, 1));
  const response = makeAttribute('MS-CHAP2-Response', Buffer.alloc(50, 2));
  expect(readMschapV2([challenge, response])?.ntResponse).toHaveLength(24);
  expect(readMschapV2([response])).toBeNull();
  expect(readMschapV2([challenge, challenge, response])).toBeNull();
  expect(readMschapV2([challenge, response, response])).toBeNull();
  expect(readMschapV2([makeAttribute('MS-CHAP-Challenge', 'short'), response])).toBeNull();
});

it('a password change of MSCHAPv2 is read only when it is whole and there once', () => {
  const challenge = makeAttribute('MS-CHAP-Challenge', Buffer.alloc(16, 1));
  const change = makeAttribute('MS-CHAP2-CPW', Buffer.alloc(68, 2));
  const part = makeAttribute('MS-CHAP-NT-Enc-PW', Buffer.alloc(243, 3));
  expect(readMschapV2Change([challenge, change, part, part])).toEqual(Buffer.alloc(68, 2));
  expect(readMschapV2Change([challenge, change])).toBeNull();
  expect(readMschapV2Change([change, part])).toBeNull();
  expect(readMschapV2Change([challenge, challenge, change, part])).toBeNull();
  expect(readMschapV2Change([challenge, change, change, part])).toBeNull();
  const short = makeAttribute('MS-CHAP2-CPW', Buffer.alloc(67, 2));
  expect(readMschapV2Change([challenge, short, part])).toBeNull();
});
