import {
  findValues,
  makeAttribute,
  readAddress,
  readInteger,
  readText,
  showAttributes,
} from '../attribute-values.ts';
import { signRequest } from '../authenticators.ts';
import { checkReply } from '../check-reply.ts';
import { checkRequest } from '../check-request.ts';
import { dictionary } from '../dictionary.ts';
import {
  hideSalted,
  hideUserPassword,
  reencryptAttributes,
  revealUserPassword,
} from '../hidden-attributes.ts';
import { makeJoinContent } from '../join-content.ts';
import { decodePacket, encodePacket, type Packet } from '../radius-packet.ts';
import { findSignInProtocol, readMschapV2 } from '../sign-in-protocol.ts';
import { rfcPackets, rfcSecret } from './rfc-packets.ts';

export interface FuzzCount {
  decoded: number;
  malformed: number;
}

/**
 * Mutates packets by a seed and puts each through everything that reads what came from outside.
 * Throws an Error that names the packet's bytes where something throws, or where encoding a
 * decoded packet gives other bytes.
 */
export function fuzzPackets(count: number, seed: number): FuzzCount {
  const random = makeRandom(seed);
  const originals = makeOriginals();
  const counted = { decoded: 0, malformed: 0 };
  for (let round = 0; round < count; round += 1) {
    const original = originals[random(originals.length)] as Buffer;
    const bytes = mutate(original, random);
    try {
      if (readEverything(bytes)) counted.decoded += 1;
      else counted.malformed += 1;
    } catch (error) {
      const where = `packet ${round} of seed ${seed}: ${bytes.toString('hex')}`;
      throw new Error(where, { cause: error });
    }
  }
  return counted;
}

/** Packets of every kind that is read, whole and signed. */
export function makeOriginals(): Buffer[] {
  const authenticator = Buffer.alloc(16, 7);
  const exchange = { secret: rfcSecret, authenticator };
  const salt = Buffer.from([0x80, 1]);
  const attributes = [
    makeAttribute('User-Name', 'CORP\\zoë'),
    makeAttribute('User-Password', hideUserPassword(Buffer.from('pässword'), exchange)),
    makeAttribute('Calling-Station-Id', '192.0.2.7'),
    makeAttribute('NAS-IPv6-Address', '2001:db8::1'),
    makeAttribute('State', Buffer.alloc(160, 1)),
    makeAttribute('MS-CHAP-Challenge', Buffer.alloc(16, 2)),
    makeAttribute('MS-CHAP2-Response', Buffer.alloc(50, 3)),
    makeAttribute('MS-MPPE-Send-Key', hideSalted(Buffer.alloc(16, 4), salt, exchange)),
    makeAttribute('MS-CHAP-MPPE-Keys', Buffer.alloc(32, 5)),
    makeAttribute('Proxy-State', Buffer.from('one')),
    makeAttribute('Proxy-State', Buffer.from('two')),
    makeAttribute('EAP-Message', Buffer.alloc(253, 6)),
  ];
  const made = [1, 4, 12, 43].map((code) =>
    signRequest({ code, identifier: 1, authenticator, attributes }, rfcSecret),
  );
  const written = Object.values(rfcPackets).flatMap((pair) => Object.values(pair));
  return [...made, ...written];
}

/** One to eight changes: of bits, bytes, lengths, the end, or the order. */
export function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (let left = 1 + random(8); left > 0; left -= 1) {
    const at = random(bytes.length || 1);
    const kind = random(7);
    if (kind === 0) bytes = bytes.subarray(0, at);
    else if (kind === 1) bytes = Buffer.concat([bytes, bytes.subarray(at)]).subarray(0, 5_000);
    else if (kind === 2) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    else if (kind === 3) bytes[at] = [0, 1, 2, 26, 80, 127, 128, 255][random(8)] ?? 0;
    else if (kind === 4 && bytes.length >= 4) bytes.writeUInt16BE(bytes.length, 2);
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    else bytes[at] = random(256);
  }
  return bytes;
}

/** A small generator (mulberry32): whole numbers below the one given. */
export function makeRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function readEverything(datagram: Buffer): boolean {
  const decoded = decodePacket(datagram);
  const requestAuthenticator = Buffer.alloc(16, 9);
  for (const requestCode of [1, 4, 12]) {
    const expected = { requestCode, requestAuthenticator, secret: rfcSecret };
    checkReply(datagram, { ...expected, messageAuthenticator: 'require' });
  }
  if ('malformation' in decoded) return false;
  readAttributes(decoded.packet);
  if (encodePacket(decoded.packet).equals(decoded.packet.bytes)) return true;
  throw new Error('a decoded packet is encoded as other bytes');
}

function readAttributes(packet: Packet): void {
  const { attributes, authenticator } = packet;
  for (const service of ['authentication', 'accounting'] as const) {
    checkRequest(packet, { service, secret: rfcSecret, policy: 'observe' });
  }
  for (const { value } of attributes) {
    readText(value);
    readInteger(value);
    readAddress(value);
  }
  const exchange = { secret: rfcSecret, authenticator };
  const to = { secret: Buffer.from('another'), authenticator: Buffer.alloc(16, 8) };
  const passwords = findValues(attributes, 'User-Password');
  const [password = null] = passwords.map((hidden) => revealUserPassword(hidden, exchange));
  reencryptAttributes(attributes, { from: exchange, to });
  makeJoinContent({ ...packet, password });
  findSignInProtocol(attributes);
  readMschapV2(attributes);
  showAttributes(attributes);
  const { length } = dictionary;
  const entry = dictionary[(attributes[0]?.type ?? 0) % length];
  if (entry) findValues(attributes, entry);
}
