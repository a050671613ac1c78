export {
  findText,
  findValue,
  findValues,
  makeAttribute,
  makeReplyMessages,
  parseAttribute,
  readAddress,
  readInteger,
  readText,
  showAttributes,
  type ShownAttribute,
} from './attribute-values.ts';
export type { ReplyRefusal } from './check-reply.ts';
export type { MessageAuthenticatorPolicy, Service } from './check-request.ts';
export {
  type AttributeKind,
  type AttributeName,
  dictionary,
  findAttributeByName,
  findAttributeByType,
  type NamedAttribute,
} from './dictionary.ts';
export { type Exchange, longestPasswordBytes, reencryptAttributes } from './hidden-attributes.ts';
export { normalizeAddress } from './ip-address.ts';
export { makeJoinContent } from './join-content.ts';
export { type ClientAddresses, makeClientMatcher, parseNetwork } from './match-client.ts';
export { mschapReplies, pickAttributes, withoutHopAttributes } from './pick-attributes.ts';
export {
  type ClientBounds,
  type ClientOptions,
  type ClientRequest,
  type ClientResult,
  RadiusClient,
  type TargetServer,
} from './radius-client.ts';
export { type Attribute, packetCodes, RadiusError } from './radius-packet.ts';
export {
  RadiusServer,
  type Reply,
  type SeenDatagram,
  type Served,
  type ServerBounds,
  type ServerClient,
  type ServerOptions,
  type ServerRefusal,
  type ServerRequest,
} from './radius-server.ts';
export type { Refusal } from './refusal-counts.ts';
export {
  findSignInProtocol,
  type MschapV2,
  readMschapV2,
  readMschapV2Change,
  type SignInProtocol,
} from './sign-in-protocol.ts';
export { RequestReplacedError } from './recent-requests.ts';
