import { keyedHash, type PurposeKey } from '@countersign/keys';
import { makeJoinContent, type ServerRequest } from '@countersign/radius';

/** For so long what is sent again is the same sign-in, and so long a verdict is told again (rules 7 and 8). */
const BUCKET_MS = 10_000;

/**
 * Keys of an Access-Request: sent again, whichever node it reaches, it has one of them in common. The time is in them,
 * since who signs in later with the same password signs in anew; with the neighbours of its own, no resend falls
 * between two. The verdict that a key names is kept for 10 s, so nobody joins a sign-in that was over before.
 */
export function joinKeys(
  key: PurposeKey,
  request: Pick<ServerRequest, 'code' | 'authenticator' | 'attributes' | 'password'>,
  { clientId, nowMs }: { clientId: string; nowMs: number },
): { idempotencyKey: string; resentKeys: string[] } {
  const content = makeJoinContent(request);
  const hash = keyedHash(key, 'radius-join', clientId, content).toString('base64url');
  content.fill(0);
  const bucket = Math.floor(nowMs / BUCKET_MS);
  const keyOf = (number: number) => `${hash} ${number}`;
  return { idempotencyKey: keyOf(bucket), resentKeys: [keyOf(bucket - 1), keyOf(bucket + 1)] };
}
