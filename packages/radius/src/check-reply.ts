import { checkMessageAuthenticator, checkResponseAuthenticator } from './authenticators.ts';
import { decodePacket, type Packet, packetCodes } from './radius-packet.ts';

export type ReplyRefusal =
  | 'malformed'
  | 'unexpected_code'
  | 'response_authenticator_invalid'
  | 'message_authenticator_missing'
  | 'message_authenticator_invalid';

/** Whether a datagram is the reply to a request, from who shares the secret. */
export function checkReply(
  datagram: Buffer,
  expected: {
    requestCode: number;
    requestAuthenticator: Buffer;
    secret: Buffer;
    /**
     * `require`: replies to Access-Requests without one are refused. Those to Status-Server are
     * not: FreeRADIUS sends none there, and all that one could win is that a server counts as alive.
     */
    messageAuthenticator: 'require' | 'off';
  },
): { packet: Packet } | { refusal: ReplyRefusal } {
  const decoded = decodePacket(datagram);
  if ('malformation' in decoded) return { refusal: 'malformed' };
  const { packet } = decoded;
  if (!replyCodes[expected.requestCode]?.includes(packet.code)) {
    return { refusal: 'unexpected_code' };
  }
  if (!checkResponseAuthenticator(packet.bytes, expected))
    return { refusal: 'response_authenticator_invalid' };
  const check = checkMessageAuthenticator(packet.bytes, expected);
  if (check === 'invalid') return { refusal: 'message_authenticator_invalid' };
  const isSignIn = expected.requestCode === packetCodes.accessRequest;
  const hasEap = packet.attributes.some(({ type }) => type === eapMessage);
  const isNeeded = hasEap || (expected.messageAuthenticator === 'require' && isSignIn);
  if (check === 'missing' && isNeeded) return { refusal: 'message_authenticator_missing' };
  return { packet };
}

const eapMessage = 79;

const { accessRequest, accessAccept, accessReject, accessChallenge } = packetCodes;
const { accountingRequest, accountingResponse, statusServer } = packetCodes;
const replyCodes: Readonly<Record<number, readonly number[]>> = {
  [accessRequest]: [accessAccept, accessReject, accessChallenge],
  [accountingRequest]: [accountingResponse],
  [statusServer]: [accessAccept, accountingResponse],
};
