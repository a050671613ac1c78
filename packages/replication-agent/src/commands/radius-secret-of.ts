import { KeyError } from '@countersign/keys';
import {
  openRadiusSecret,
  placesOf,
  radiusSecretContext,
  sealRadiusSecret,
} from '@countersign/operations';
import type { RadiusClientDocument, RadiusTargetDocument } from '@countersign/verification';
import { refuse, type PlanContext, type Refusal } from './plan.ts';

type Holder = RadiusClientDocument | RadiusTargetDocument;

/**
 * The sealed secret of a document that changes. It is kept where addresses or servers are only taken away; one that
 * would be shared with another address has to be given again (security rule 25).
 */
export function sealedSecretOf<T extends Holder>(
  context: PlanContext,
  { before, after, secret }: { before: T; after: T; secret: string | undefined },
): string | Refusal {
  const known = new Set(placesOf(before));
  const added = placesOf(after).find((place) => !known.has(place));
  if (secret === undefined && added !== undefined) return secretRequired(added);
  const kept = openedSecret(context, before);
  if (secret === undefined && kept === null) return secretRequired(placesOf(after)[0]!);
  const isPlaceSame = radiusSecretContext(before) === radiusSecretContext(after);
  if (isPlaceSame && (secret === undefined || secret === kept)) return before.sealedSecret;
  return sealRadiusSecret(context.keys.seed, after, secret ?? kept!);
}

function secretRequired(place: string): Refusal {
  const detail = `give the secret once more: it would be shared with ${place}`;
  return refuse(400, 'secret_required', detail);
}

/** Null: sealed for another place, so that nobody can use it. */
function openedSecret(context: PlanContext, document: Holder): string | null {
  try {
    return openRadiusSecret(context.keys.seed, document).toString('utf8');
  } catch (error) {
    if (error instanceof KeyError) return null;
    throw error;
  }
}
