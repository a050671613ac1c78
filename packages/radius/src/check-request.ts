import { checkMessageAuthenticator, checkRequestAuthenticator } from './authenticators.ts';
import { type Attribute, type Packet, packetCodes } from './radius-packet.ts';

/**
 * Whether Access-Requests of a client must carry a Message-Authenticator: `require` drops those
 * without, `observe` serves and counts them, `off` serves them. A wrong one is always dropped.
 */
export type MessageAuthenticatorPolicy = 'require' | 'observe' | 'off';

export type Service = 'authentication' | 'accounting';

export type RequestCheck =
  | 'valid'
  /** Served, but would be dropped were it required. */
  | 'unsigned'
  | 'unexpected_code'
  | 'ambiguous_request'
  | 'nas_missing'
  | 'message_authenticator_missing'
  | 'message_authenticator_invalid'
  | 'request_authenticator_invalid';

/** Whether a request came from who shares the secret, as far as its kind can show that. */
export function checkRequest(
  { code, bytes, attributes }: Packet,
  {
    service,
    secret,
    policy,
    needsNas = false,
  }: {
    service: Service;
    secret: Buffer;
    policy: MessageAuthenticatorPolicy;
    /** Whether it must name the device it is from: many stand behind this client's address. */
    needsNas?: boolean;
  },
): RequestCheck {
  const { accessRequest, accountingRequest, statusServer } = packetCodes;
  const served = service === 'authentication' ? accessRequest : accountingRequest;
  if (code !== served && code !== statusServer) return 'unexpected_code';
  const check = checkMessageAuthenticator(bytes, { secret });
  if (check === 'invalid') return 'message_authenticator_invalid';
  const types = attributes.map(({ type }) => type);
  const isNasMissing = needsNas && code !== statusServer && !attributes.some(namesNas);
  if (code === accountingRequest) {
    if (!checkRequestAuthenticator(bytes, secret)) return 'request_authenticator_invalid';
    return isNasMissing ? 'nas_missing' : 'valid';
  }
  if (check === 'missing') {
    // RFC 5997 §3 and RFC 3579 §3.2 leave no choice for these.
    const isNeeded = policy === 'require' || code === statusServer || types.includes(eapMessage);
    if (isNeeded) return 'message_authenticator_missing';
  }
  if (isAmbiguous(types)) return 'ambiguous_request';
  if (isNasMissing) return 'nas_missing';
  return check === 'missing' && policy === 'observe' ? 'unsigned' : 'valid';
}

const eapMessage = 79;
const userPassword = 2;
const chapPassword = 3;
/** NAS-IP-Address, NAS-Identifier, NAS-IPv6-Address. */
const nas: ReadonlySet<number> = new Set([4, 32, 95]);
/** User-Name, User-Password, CHAP-Password, State, CHAP-Challenge. */
const onceOnly = [1, userPassword, chapPassword, 24, 60];

// One of them must be there: RFC 2865 §4.1, RFC 2866 §4.1, RFC 3162 §2.1.
function namesNas({ type, value }: Attribute): boolean {
  return nas.has(type) && value.length > 0;
}

// RFC 2865 §4.1 and §5.44: two readers of such a request could see two different sign-ins.
function isAmbiguous(types: readonly number[]): boolean {
  const isRepeated = onceOnly.some((type) => types.indexOf(type) !== types.lastIndexOf(type));
  return isRepeated || (types.includes(userPassword) && types.includes(chapPassword));
}
