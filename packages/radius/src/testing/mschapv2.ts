import { createCipheriv, createHash, randomBytes } from 'node:crypto';

import { runTool } from './run-tool.ts';

/**
 * What somebody's machine and their NAS send by MSCHAPv2 (RFC 2759 §8, RFC 2548 §2.3.2), as radclient reads it, each
 * attribute by itself. Needs FreeRADIUS' smbencrypt.
 */
export async function makeMschapV2(name: string, password: string): Promise<string[]> {
  const { challenge, peer, ntResponse } = await respond(name, password);
  const head = Buffer.from([identifier, 0]);
  return [
    `User-Name="${name}"`,
    hexOf('MS-CHAP-Challenge', challenge),
    hexOf('MS-CHAP2-Response', Buffer.concat([head, peer, Buffer.alloc(8), ntResponse])),
  ];
}

/** The same by which an expired password is changed (RFC 2548 §2.3.4, §2.1.9). */
export async function makeMschapV2Change(
  name: string,
  passwords: { old: string; new: string },
): Promise<string[]> {
  const [before, after] = await Promise.all([ntHash(passwords.old), ntHash(passwords.new)]);
  const { challenge, peer, ntResponse } = await respond(name, passwords.new);
  // RFC 2759 §8.12: the old hash, with the new one for a key.
  const hash = Buffer.concat([
    desBlock(after.subarray(0, 7), before.subarray(0, 8)),
    desBlock(after.subarray(7, 14), before.subarray(8, 16)),
  ]);
  const head = Buffer.from([7, identifier]);
  const change = [head, hash, peer, Buffer.alloc(8), ntResponse, Buffer.alloc(2)];
  return [
    `User-Name="${name}"`,
    hexOf('MS-CHAP-Challenge', challenge),
    hexOf('MS-CHAP2-CPW', Buffer.concat(change)),
    ...encryptedParts(passwords.new, before),
  ];
}

const identifier = 7;
const partBytes = 243;

async function respond(name: string, password: string) {
  const [challenge, peer] = [randomBytes(16), randomBytes(16)];
  const sha = createHash('sha1').update(peer).update(challenge).update(name).digest();
  const padded = Buffer.concat([await ntHash(password), Buffer.alloc(5)]);
  const parts = [0, 7, 14].map((at) => desBlock(padded.subarray(at, at + 7), sha.subarray(0, 8)));
  return { challenge, peer, ntResponse: Buffer.concat(parts) };
}

// RFC 2759 §8.9: at the end of 512 bytes, then its length, all of it by RC4.
function encryptedParts(password: string, key: Buffer): string[] {
  const text = Buffer.from(password, 'utf16le');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const block = rc4(key, Buffer.concat([randomBytes(512 - text.length), text, length]));
  const count = Math.ceil(block.length / partBytes);
  return Array.from({ length: count }, (_, at) => {
    const part = block.subarray(at * partBytes, (at + 1) * partBytes);
    const head = Buffer.from([6, identifier, 0, at + 1]);
    return hexOf('MS-CHAP-NT-Enc-PW', Buffer.concat([head, part]));
  });
}

function hexOf(name: string, value: Buffer): string {
  return `${name}=0x${value.toString('hex')}`;
}

async function ntHash(password: string): Promise<Buffer> {
  const hashes = await runTool({ command: 'smbencrypt', args: [password] });
  return Buffer.from(/\t([0-9A-F]{32})/.exec(hashes)![1]!, 'hex');
}

/** One DES block as triple DES with one key; 7 bytes become 8, each with a parity bit that nobody minds. */
function desBlock(seven: Buffer, block: Buffer): Buffer {
  const bits = BigInt(`0x${seven.toString('hex')}`);
  const bytes = Array.from({ length: 8 }, (_, i) => Number((bits >> BigInt(49 - 7 * i)) & 0x7fn));
  const one = Buffer.from(bytes.map((byte) => byte << 1));
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([one, one, one]), null);
  return cipher.setAutoPadding(false).update(block);
}

/** OpenSSL 3 has none. */
function rc4(key: Buffer, plain: Buffer): Buffer {
  const box = Uint8Array.from({ length: 256 }, (_, i) => i);
  const swap = (a: number, b: number) => {
    [box[a], box[b]] = [box[b]!, box[a]!];
  };
  for (let i = 0, j = 0; i < 256; i += 1) {
    j = (j + box[i]! + key[i % key.length]!) & 255;
    swap(i, j);
  }
  let [i, j] = [0, 0];
  return plain.map((byte) => {
    i = (i + 1) & 255;
    j = (j + box[i]!) & 255;
    swap(i, j);
    return byte ^ box[(box[i]! + box[j]!) & 255]!;
  }) as Buffer;
}
