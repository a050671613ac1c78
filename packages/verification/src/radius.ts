import { isIP } from 'node:net';
import { z } from 'zod';
import { directoryName } from './directory.ts';
import { id, instant } from './document-fields.ts';
import { isSafeText } from './safe-text.ts';
import { applicationName } from './settings-schema.ts';
import { plainNetwork } from './trusted-address.ts';

/** Who asks over RADIUS, and the RADIUS servers that are asked for a first factor. */

export const RADIUS_CLIENTS_MAX = 1000;
export const RADIUS_TARGETS_MAX = 50;
export const RADIUS_ADDRESSES_MAX = 50;
export const RADIUS_SERVERS_MAX = 10;
export const RADIUS_REPLIES_MAX = 20;
/** Shorter ones are taken, and warned of: RFC 2865 §3. */
export const RADIUS_SECRET_ADVISED_BYTES = 16;
export const RADIUS_SECRET_MAX_BYTES = 128;

/** Of a client or a target. */
export const radiusName = directoryName;

const sealedSecret = z.base64().min(4).max(512);

/** In the one form that each network has, so that two that are the same look the same. */
const network = z
  .string()
  .max(49)
  .refine((text) => plainNetwork(text) === text, 'not an address or network in its plain form');

/** An attribute by its name, or by the numbers of its vendor and itself, such as 9/1. */
const ATTRIBUTE = /^([A-Za-z][A-Za-z0-9-]{0,62}|[1-9]\d{0,7}\/[1-9]\d{0,2})$/;
const attribute = z
  .string()
  .max(64)
  .refine(
    (text) => ATTRIBUTE.test(text),
    'is no name of an attribute, such as Filter-Id, nor vendor/number, such as 9/1',
  );

const reply = z.strictObject({
  /** Whose users get it, as the `group` of a user is written, in any case; null: everybody. */
  group: z.string().min(1).max(256).refine(isSafeText).nullable(),
  attribute,
  /** A number, an address or text as the attribute's kind wants; of bytes also 0x and hex digits. */
  value: z
    .string()
    .min(1)
    .refine((text) => Buffer.byteLength(text, 'utf8') <= 253, 'has more than 253 bytes')
    .refine(isSafeText, 'has control, invisible or broken characters'),
});
export type RadiusReply = z.infer<typeof reply>;

export const radiusClientDocument = z.strictObject({
  id,
  /** No other client has it, whatever the case of its letters. */
  name: radiusName,
  /** By name: its settings and user match go, and its name stands in the events. There is one. */
  application: applicationName,
  /** False: as if it were unknown. */
  enabled: z.boolean(),
  /** No two clients have one network; of several that hold an address the longest goes. */
  addresses: z
    .array(network)
    .min(1)
    .max(RADIUS_ADDRESSES_MAX)
    .refine((all) => new Set(all).size === all.length, 'one comes twice'),
  sealedSecret,
  messageAuthenticator: z.enum(['require', 'observe', 'off']),
  /** Where passwords are checked. */
  firstFactor: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('directory'),
      /** Only users of these, and strangers are looked for in these alone; null: every one. */
      directories: z.array(id).min(1).max(50).nullable(),
    }),
    /** The client is trusted to have checked it: what it sends is a code. */
    z.strictObject({ kind: z.literal('none') }),
    z.strictObject({ kind: z.literal('radius'), target: id }),
  ]),
  /** Whether it understands Access-Challenge. */
  canChallenge: z.boolean(),
  /** Digits of codes behind a password (security rule 22). */
  codeLength: z.union([z.literal(6), z.literal(7), z.literal(8)]),
  /** "password,code" is taken as such. */
  commaCode: z.boolean(),
  /** "passwordcode" is what everybody types: a code is mandatory and has that length. */
  appendedCode: z.boolean(),
  /** What Calling-Station-Id is (security rule 12): the end user's address, something to show, or nothing. */
  callingStation: z.enum(['ip', 'text', 'ignore']),
  /** Many devices send through its address: each request must name its own, or two could be taken for one. */
  isBalancer: z.boolean(),
  /** How long somebody is waited for, such as at a phone; shorter than the client's own time-out. */
  waitSeconds: z.int().min(5).max(120),
  /** In Access-Accept, in this order; those of a target come before them. */
  replies: z.array(reply).max(RADIUS_REPLIES_MAX),
  createdAt: instant,
  updatedAt: instant,
});
export type RadiusClientDocument = z.infer<typeof radiusClientDocument>;

/** Whether it lets in whoever is no user here with nothing checked here: that the client has done so is all there is. */
export function passesUnchecked(
  { firstFactor }: Pick<RadiusClientDocument, 'firstFactor'>,
  application: { userMatch: 'require' | 'pass' } | null,
): boolean {
  return firstFactor.kind === 'none' && application?.userMatch === 'pass';
}

const server = z.strictObject({
  /** An address or a name; the latter is looked up. */
  host: z.string().min(1).max(253).refine(isHost, 'is no address or host name'),
  port: z.int().min(1).max(65_535),
});
export type RadiusServerAddress = z.infer<typeof server>;

export const radiusTargetDocument = z.strictObject({
  id,
  /** No other target has it, whatever the case of its letters. */
  name: radiusName,
  /** Asked in this order; all have one secret. */
  servers: z
    .array(server)
    .min(1)
    .max(RADIUS_SERVERS_MAX)
    .refine((all) => new Set(all.map(serverKey)).size === all.length, 'one comes twice'),
  sealedSecret,
  /** Whether its replies must carry one. Where they need not, MSCHAPv2 is refused (security rule 23). */
  messageAuthenticator: z.enum(['require', 'off']),
  /** Of one sign-in over all servers. */
  timeoutMs: z.int().min(500).max(60_000),
  /** Attributes of its replies that go on to the client; what MSCHAPv2 itself needs goes on anyway. */
  passAttributes: z.array(attribute).max(50),
  createdAt: instant,
  updatedAt: instant,
});
export type RadiusTargetDocument = z.infer<typeof radiusTargetDocument>;

/** No zone: it means something on one node alone. What looks like an IPv4 address is one. */
function isHost(text: string): boolean {
  if (isIP(text) !== 0) return !text.includes('%');
  const labels = text.split('.');
  const isNumber = /^\d+$/.test(labels.at(-1)!);
  return (
    !isNumber &&
    labels.every((label) => /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label))
  );
}

/** host:port, as one server is told from another. */
export function serverKey({ host, port }: RadiusServerAddress): string {
  return host.includes(':') ? `[${host.toLowerCase()}]:${port}` : `${host.toLowerCase()}:${port}`;
}
