import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { IdentityError } from './identity-error.ts';
import type { MemberRole } from './member-list.ts';

/**
 * What a token tells its holder. The secret never leaves the machine that joins: it signs the request, so nobody on
 * the way, a node included, can use the token for another.
 */
export type JoinToken = {
  clusterId: string;
  /** SHA-256 of the CA's certificate (DER), hex. */
  caFingerprint: string;
  /** UUID. */
  tokenId: string;
  /** 32 bytes: the seed of an Ed25519 key, of which the cluster keeps only the public half. */
  secret: Buffer;
};

/** All that a join asks for, and what the token's signature covers. */
export type JoinRequest = {
  clusterId: string;
  tokenId: string;
  role: MemberRole;
  name: string;
  hosts: string[];
  /** PKCS #10, PEM. */
  certificateRequest: string;
  agentKey: string | null;
  workerKey: string | null;
  supervisorKey: string;
};

// version (1) | cluster id (10) | CA fingerprint (32) | token id (16) | secret (32) | checksum (4)
const PREFIX = 'cs_join_';
const VERSION = 1;
const BODY_BYTES = 91;
const CHECKSUM_BYTES = 4;
export const SECRET_BYTES = 32;
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** 135 characters on one line. */
export function formatJoinToken(token: JoinToken): string {
  const body = Buffer.concat([
    Buffer.of(VERSION),
    Buffer.from(token.clusterId, 'hex'),
    Buffer.from(token.caFingerprint, 'hex'),
    Buffer.from(token.tokenId.replaceAll('-', ''), 'hex'),
    token.secret,
  ]);
  if (body.length !== BODY_BYTES) throw new IdentityError('malformed', 'not a join token');
  return PREFIX + Buffer.concat([body, checksumOf(body)]).toString('base64url');
}

/** Surrounding white space does not matter. @throws IdentityError `malformed`, without the text given */
export function parseJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  const bytes = Buffer.from(trimmed.slice(PREFIX.length), 'base64url');
  const body = bytes.subarray(0, BODY_BYTES);
  const isWhole =
    bytes.length === BODY_BYTES + CHECKSUM_BYTES &&
    trimmed === PREFIX + bytes.toString('base64url') &&
    checksumOf(body).equals(bytes.subarray(BODY_BYTES)) &&
    body[0] === VERSION;
  if (!isWhole) {
    throw new IdentityError('malformed', 'this is not a join token, or not the whole of one');
  }
  const id = body.toString('hex', 43, 59);
  return {
    clusterId: body.toString('hex', 1, 11),
    caFingerprint: body.toString('hex', 11, 43),
    tokenId: id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    secret: Buffer.from(body.subarray(59)),
  };
}

/** What the cluster keeps of a token: from it the secret cannot be had. Base64url, 43 characters. */
export function tokenPublicKey(secret: Uint8Array): string {
  const jwk = createPublicKey(privateKeyOf(secret)).export({ format: 'jwk' });
  return jwk.x as string;
}

/** Ed25519 (RFC 8032), base64. */
export function signJoinRequest(request: JoinRequest, secret: Uint8Array): string {
  return sign(null, canonicalBytes(request), privateKeyOf(secret)).toString('base64');
}

/** Whether the holder of the token asks for exactly this. */
export function isSignedByToken(
  request: JoinRequest,
  signature: string,
  publicKey: string,
): boolean {
  try {
    const key = createPublicKey({
      format: 'jwk',
      key: { kty: 'OKP', crv: 'Ed25519', x: publicKey },
    });
    return verify(null, canonicalBytes(request), key, Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
}

function canonicalBytes(request: JoinRequest): Buffer {
  const content = JSON.stringify([
    request.clusterId,
    request.tokenId,
    request.role,
    request.name,
    request.hosts,
    request.certificateRequest,
    request.agentKey,
    request.workerKey,
    request.supervisorKey,
  ]);
  return Buffer.from(`countersign join 1\n${content}`, 'utf8');
}

function privateKeyOf(secret: Uint8Array) {
  if (secret.length !== SECRET_BYTES) throw new IdentityError('malformed', 'not a join token');
  const key = Buffer.concat([ED25519_PKCS8, secret]);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

function checksumOf(body: Uint8Array): Buffer {
  const digest = createHash('sha256').update('countersign join token').update(body).digest();
  return digest.subarray(0, CHECKSUM_BYTES);
}
