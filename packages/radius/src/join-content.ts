import { findValue } from './attribute-values.ts';
import type { Attribute } from './radius-packet.ts';

/**
 * The bytes that two sendings of one sign-in have in common, whatever node or identifier they were
 * sent with (rule 7): code, and every attribute in order but Message-Authenticator, Proxy-State,
 * Event-Timestamp and Acct-Delay-Time; the password as revealed; for CHAP its challenge. They hold
 * the password: put them through a keyed hash at once, never keep or show them.
 */
export function makeJoinContent(request: {
  code: number;
  authenticator: Buffer;
  attributes: readonly Attribute[];
  password: Buffer | null;
}): Buffer {
  const pieces: Buffer[] = [frame(0, Buffer.from([request.code]))];
  for (const { type, value } of request.attributes) {
    if (passing.has(type)) continue;
    pieces.push(frame(type, type === userPassword ? (request.password ?? value) : value));
  }
  // RFC 2865 §2.2: without a CHAP-Challenge the authenticator is the challenge.
  const hasChap = findValue(request.attributes, 'CHAP-Password') !== undefined;
  if (hasChap && !findValue(request.attributes, 'CHAP-Challenge')) {
    pieces.push(frame(chapChallenge, request.authenticator));
  }
  return Buffer.concat(pieces);
}

const userPassword = 2;
const chapChallenge = 60;
/** Acct-Delay-Time, Event-Timestamp, Message-Authenticator, Proxy-State. */
const passing: ReadonlySet<number> = new Set([33, 41, 55, 80]);

function frame(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length]), value]);
}
