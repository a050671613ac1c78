import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { makeAttribute, readText } from '../attribute-values.ts';
import type { Attribute } from '../radius-packet.ts';

export type RadiusAnswer = {
  kind: 'accept' | 'reject' | 'challenge' | 'accounting' | 'silent';
  attributes: Attribute[];
  /** All Reply-Messages. */
  message: string;
  /** For the next request. */
  state: Attribute[];
  tookMs: number;
};

const KINDS: Record<number, RadiusAnswer['kind']> = {
  2: 'accept',
  3: 'reject',
  5: 'accounting',
  11: 'challenge',
};
const PASSWORD = 2;
const REPLY_MESSAGE = 18;
const STATE = 24;

/**
 * One request by RFC 2865, 2866 and 3579 alone, with none of the product's own code around it, so that it may be as
 * wrong as a test wants; sent again as it is each second until it is answered.
 */
export async function sendRadius({
  port,
  from,
  secret,
  code = 1,
  attributes,
  password = null,
  waitMs = 15_000,
}: {
  port: number;
  /** Address of this machine that it comes from. */
  from: string;
  secret: string;
  /** 1 Access-Request or 4 Accounting-Request. */
  code?: 1 | 4;
  attributes: readonly Attribute[];
  password?: Buffer | string | null;
  waitMs?: number;
}): Promise<RadiusAnswer> {
  const authenticator = randomBytes(16);
  const typed =
    password === null ? [] : [hidePassword(Buffer.from(password), secret, authenticator)];
  const bytes =
    code === 4
      ? signAccounting(attributes, secret)
      : sign([...attributes, ...typed], secret, authenticator);
  const socket = createSocket('udp4');
  socket.bind(0, from);
  await once(socket, 'listening');
  const startedAt = performance.now();
  const send = () => socket.send(bytes, port, '127.0.0.1');
  const again = setInterval(send, 1000);
  try {
    send();
    const signal = AbortSignal.timeout(waitMs);
    const [told] = (await once(socket, 'message', { signal }).catch(() => [null])) as [
      Buffer | null,
    ];
    return readAnswer(told, performance.now() - startedAt);
  } finally {
    clearInterval(again);
    socket.close();
  }
}

/** What a VPN sends of somebody. */
export function about(username: string, { station = 'laptop', nas = 'gate' } = {}): Attribute[] {
  return [
    makeAttribute('User-Name', username),
    makeAttribute('NAS-Identifier', nas),
    makeAttribute('Calling-Station-Id', station),
  ];
}

function hidePassword(plain: Buffer, secret: string, authenticator: Buffer): Attribute {
  const value = Buffer.alloc(Math.max(16, Math.ceil(plain.length / 16) * 16));
  plain.copy(value);
  let before = authenticator;
  for (let at = 0; at < value.length; at += 16) {
    const mask = createHash('md5').update(secret).update(before).digest();
    for (let index = 0; index < 16; index += 1) value[at + index]! ^= mask[index]!;
    before = value.subarray(at, at + 16);
  }
  return { type: PASSWORD, value };
}

function encode(code: number, authenticator: Buffer, attributes: readonly Attribute[]): Buffer {
  const pieces = attributes.flatMap(({ type, value }) => [
    Buffer.from([type, value.length + 2]),
    value,
  ]);
  const head = Buffer.from([code, randomBytes(1)[0]!, 0, 0]);
  const bytes = Buffer.concat([head, authenticator, ...pieces]);
  bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
}

function signAccounting(attributes: readonly Attribute[], secret: string): Buffer {
  const bytes = encode(4, Buffer.alloc(16), attributes);
  createHash('md5').update(bytes).update(secret).digest().copy(bytes, 4);
  return bytes;
}

function sign(attributes: readonly Attribute[], secret: string, authenticator: Buffer): Buffer {
  const place = { type: 80, value: Buffer.alloc(16) };
  const bytes = encode(1, authenticator, [place, ...attributes]);
  createHmac('md5', secret).update(bytes).digest().copy(bytes, 22);
  return bytes;
}

function readAnswer(bytes: Buffer | null, tookMs: number): RadiusAnswer {
  const attributes: Attribute[] = [];
  for (let at = 20; bytes && at < bytes.length;) {
    const end = at + bytes[at + 1]!;
    attributes.push({ type: bytes[at]!, value: bytes.subarray(at + 2, end) });
    at = end;
  }
  const messages = attributes.filter(({ type }) => type === REPLY_MESSAGE);
  return {
    kind: (bytes && KINDS[bytes[0]!]) ?? 'silent',
    attributes,
    message: messages.map(({ value }) => readText(value)).join(''),
    state: attributes.filter(({ type }) => type === STATE),
    tookMs,
  };
}
