import { z } from 'zod';
import { directoryName } from './directory.ts';
import {
  RADIUS_ADDRESSES_MAX,
  RADIUS_SECRET_MAX_BYTES,
  radiusClientDocument,
  radiusName,
  radiusTargetDocument,
} from './radius.ts';
import { isSafeText } from './safe-text.ts';
import { plainNetwork } from './trusted-address.ts';

/**
 * What operators say of RADIUS clients and targets: secrets stand in the open here, and sealed in the documents;
 * directories and targets by their names, and by their ids in the documents.
 */

export const radiusSecret = z
  .string()
  .min(1)
  .refine(
    (text) => Buffer.byteLength(text, 'utf8') <= RADIUS_SECRET_MAX_BYTES,
    `has more than ${RADIUS_SECRET_MAX_BYTES} bytes`,
  )
  .refine(isSafeText, 'has control, invisible or broken characters')
  // Pasted with it, hardly ever meant, and seen by nobody.
  .refine((text) => text.trim() === text, 'begins or ends with a space');

/** Behind what was given. */
export const NO_NETWORK =
  'is no address or network such as 192.0.2.0/24, with nothing set behind the prefix';

const network = z
  .string()
  .max(100)
  .refine((text) => plainNetwork(text) !== null, NO_NETWORK)
  .overwrite((text) => plainNetwork(text) ?? text);

const firstFactor = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('directory'),
    directories: z
      .array(directoryName)
      .min(1)
      .max(50)
      .nullable()
      .default(null)
      .describe('By name; null: the one that the user is from.'),
  }),
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({ kind: z.literal('radius'), target: radiusName.describe('By name.') }),
]);
export type GivenFirstFactor = z.infer<typeof firstFactor>;

const client = radiusClientDocument.shape;

export const radiusClientFields = z
  .strictObject({
    application: client.application,
    enabled: client.enabled,
    addresses: z
      .array(network)
      .min(1)
      .max(RADIUS_ADDRESSES_MAX)
      .refine((all) => new Set(all).size === all.length, 'one comes twice'),
    secret: radiusSecret,
    messageAuthenticator: client.messageAuthenticator,
    firstFactor,
    canChallenge: client.canChallenge,
    codeLength: client.codeLength,
    commaCode: client.commaCode,
    appendedCode: client.appendedCode,
    callingStation: client.callingStation,
    isBalancer: client.isBalancer,
    waitSeconds: client.waitSeconds,
    replies: client.replies,
  })
  .partial();
export type RadiusClientFields = z.infer<typeof radiusClientFields>;

export const newRadiusClient = radiusClientFields
  .required({ application: true, addresses: true, secret: true })
  .extend({ name: radiusName });
export type NewRadiusClient = z.infer<typeof newRadiusClient>;

/** A client of which only what it must have was said. */
export const RADIUS_CLIENT_DEFAULTS = {
  enabled: true,
  messageAuthenticator: 'require',
  firstFactor: { kind: 'directory', directories: null },
  canChallenge: true,
  codeLength: 6,
  commaCode: true,
  appendedCode: false,
  callingStation: 'text',
  isBalancer: false,
  waitSeconds: 60,
  replies: [],
} as const satisfies RadiusClientFields;

const target = radiusTargetDocument.shape;

export const radiusTargetFields = z
  .strictObject({
    servers: target.servers,
    secret: radiusSecret,
    messageAuthenticator: target.messageAuthenticator,
    timeoutMs: target.timeoutMs,
    passAttributes: target.passAttributes,
  })
  .partial();
export type RadiusTargetFields = z.infer<typeof radiusTargetFields>;

export const newRadiusTarget = radiusTargetFields
  .required({ servers: true, secret: true })
  .extend({ name: radiusName });
export type NewRadiusTarget = z.infer<typeof newRadiusTarget>;

/** A target of which only what it must have was said. No Service-Type: it may make somebody an administrator. */
export const RADIUS_TARGET_DEFAULTS = {
  messageAuthenticator: 'require',
  timeoutMs: 12_000,
  passAttributes: ['Class', 'Filter-Id', 'Session-Timeout', 'Idle-Timeout'],
} satisfies RadiusTargetFields;
