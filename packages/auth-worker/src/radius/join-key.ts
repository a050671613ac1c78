import { keyedHash, type PurposeKey } from '@countersign/keys';
import { findValue, makeJoinContent, type ServerRequest } from '@countersign/radius';
import { CLOCK_LIMIT_MS } from '../verifier.ts';

/** For so long what is sent again is the same sign-in, and so long a verdict is told again (rules 7 and 8). */
const BUCKET_MS = 10_000;
/** Of two nodes that verify one may be as much ahead of the cluster's clock as the other is behind it. */
const CLOCKS_APART_MS = 2 * CLOCK_LIMIT_MS;
/** Without one of these nobody can tell two people's sign-ins apart for longer. */
const STATIONS = ['Calling-Station-Id', 'Acct-Session-Id'] as const;

/**
 * Keys of an Access-Request: sent again, whichever node it reaches, it has one of them in common. The time is in them,
 * since who signs in later with the same password signs in anew; with the neighbours of its own, no resend falls
 * between two. The verdict that a key names is kept for 10 s, so nobody joins a sign-in that was over before. The
 * lasting ones join what somebody is still asked about elsewhere, such as on a phone.
 */
export function joinKeys(
  key: PurposeKey,
  request: Pick<ServerRequest, 'code' | 'authenticator' | 'attributes' | 'password'>,
  { clientId, nowMs, waitSeconds }: { clientId: string; nowMs: number; waitSeconds: number },
): { idempotencyKey: string; resentKeys: string[]; lastingKeys: string[] } {
  const content = makeJoinContent(request);
  const hash = keyedHash(key, 'radius-join', clientId, content).toString('base64url');
  content.fill(0);
  const bucket = Math.floor(nowMs / BUCKET_MS);
  const keyOf = (number: number) => `${hash} ${number}`;
  const isNamed = STATIONS.some((name) => findValue(request.attributes, name) !== undefined);
  const ahead = CLOCKS_APART_MS / BUCKET_MS;
  const buckets = isNamed ? Math.ceil((waitSeconds * 1000) / BUCKET_MS) + 2 * ahead : 0;
  return {
    idempotencyKey: keyOf(bucket),
    resentKeys: [keyOf(bucket - 1), keyOf(bucket + 1)],
    lastingKeys: Array.from({ length: buckets }, (_, index) => keyOf(bucket + ahead - index)),
  };
}
