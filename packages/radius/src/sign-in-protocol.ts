import { findValue, findValues } from './attribute-values.ts';
import type { Attribute } from './radius-packet.ts';

/** How an Access-Request proves the first factor; `none`: it holds nothing of the kind. */
export type SignInProtocol =
  | 'pap'
  | 'chap'
  | 'mschap'
  | 'mschapv2'
  | 'mschapv2-change'
  | 'eap'
  | 'none';

/** EAP goes first: what else such a request holds does not count (RFC 3579 §2.1). */
export function findSignInProtocol(attributes: readonly Attribute[]): SignInProtocol {
  if (findValue(attributes, 'EAP-Message')) return 'eap';
  if (findValue(attributes, 'MS-CHAP2-Response')) return 'mschapv2';
  if (findValue(attributes, 'MS-CHAP2-CPW')) return 'mschapv2-change';
  if (findValue(attributes, 'MS-CHAP-Response')) return 'mschap';
  if (findValue(attributes, 'CHAP-Password')) return 'chap';
  return findValue(attributes, 'User-Password') ? 'pap' : 'none';
}

export interface MschapV2 {
  readonly identifier: number;
  /** 16 bytes of the NAS. */
  readonly challenge: Buffer;
  /** 16 bytes of the user's machine. */
  readonly peerChallenge: Buffer;
  /** 24 bytes. */
  readonly ntResponse: Buffer;
}

/** MS-CHAP-Challenge and MS-CHAP2-Response (RFC 2548 §2.3.2); null unless both are whole, once. */
export function readMschapV2(attributes: readonly Attribute[]): MschapV2 | null {
  const [challenge, ...otherChallenges] = findValues(attributes, 'MS-CHAP-Challenge');
  const [response, ...otherResponses] = findValues(attributes, 'MS-CHAP2-Response');
  if (challenge?.length !== 16 || response?.length !== 50) return null;
  if (otherChallenges.length > 0 || otherResponses.length > 0) return null;
  return {
    identifier: response.readUInt8(0),
    challenge,
    peerChallenge: response.subarray(2, 18),
    ntResponse: response.subarray(26, 50),
  };
}

/**
 * The value of MS-CHAP2-CPW (RFC 2548 §2.3.4), by which somebody whose password has expired proves it and sets another;
 * null unless it is whole, once, beside its MS-CHAP-Challenge and the parts of the new password (§2.1.9). Nothing in
 * them is hidden by the shared secret: the old password's hash is the key.
 */
export function readMschapV2Change(attributes: readonly Attribute[]): Buffer | null {
  const [challenge, ...otherChallenges] = findValues(attributes, 'MS-CHAP-Challenge');
  const [change, ...otherChanges] = findValues(attributes, 'MS-CHAP2-CPW');
  if (challenge?.length !== 16 || change?.length !== 68) return null;
  if (otherChallenges.length > 0 || otherChanges.length > 0) return null;
  return findValue(attributes, 'MS-CHAP-NT-Enc-PW') ? change : null;
}
