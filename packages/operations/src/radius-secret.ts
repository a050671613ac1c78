import { open, seal, type PurposeKey } from '@countersign/keys';
import {
  serverKey,
  type RadiusClientDocument,
  type RadiusTargetDocument,
} from '@countersign/verification';

/** Who the secret is shared with: a client by its addresses, a target by its servers. */
export type RadiusPlace =
  | Pick<RadiusClientDocument, 'id' | 'addresses'>
  | Pick<RadiusTargetDocument, 'id' | 'servers'>;

/** What a secret is sealed to: with other addresses it does not open, whoever changed them and how (security rule 25). */
export function radiusSecretContext(place: RadiusPlace): string {
  return `radius|${place.id}|${placesOf(place).toSorted().join(' ')}`;
}

/** The addresses of a client, or the servers of a target, as they are compared. */
export function placesOf(place: RadiusPlace): string[] {
  return 'addresses' in place ? place.addresses : place.servers.map(serverKey);
}

/** In base64, for `sealedSecret`. */
export function sealRadiusSecret(seedKey: PurposeKey, place: RadiusPlace, secret: string): string {
  return seal(seedKey, Buffer.from(secret, 'utf8'), radiusSecretContext(place)).toString('base64');
}

/**
 * The secret shared with a client or a target, as bytes.
 * @throws KeyError if it was sealed under another key, or for other addresses
 */
export function openRadiusSecret(
  seedKey: PurposeKey,
  document: RadiusClientDocument | RadiusTargetDocument,
): Buffer {
  return open(seedKey, Buffer.from(document.sealedSecret, 'base64'), radiusSecretContext(document));
}
