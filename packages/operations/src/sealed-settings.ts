import { KeyError, open, seal, type PurposeKey } from '@countersign/keys';
import {
  sealedSetting,
  type SealSetting,
  type SecretSetting,
  type Settings,
} from '@countersign/verification';

/** Seals secrets among the settings. What is the same, for the same place, stays as it is sealed. */
export function sealerOfSettings(seedKey: PurposeKey): SealSetting {
  return (secret, context, kept) => {
    if (kept && opened(seedKey, kept.sealed, context) === secret) return kept.sealed;
    return seal(seedKey, Buffer.from(secret, 'utf8'), context).toString('base64');
  };
}

/**
 * A secret among the settings; null where it is not set.
 * @throws KeyError if it was sealed under another key, or for a place that the settings do not name any more
 */
export function openSetting(
  seedKey: PurposeKey,
  settings: Settings,
  name: SecretSetting,
): string | null {
  const found = sealedSetting(settings, name);
  if (!found) return null;
  return open(seedKey, Buffer.from(found.sealed, 'base64'), found.context).toString('utf8');
}

function opened(seedKey: PurposeKey, sealed: string, context: string): string | null {
  try {
    return open(seedKey, Buffer.from(sealed, 'base64'), context).toString('utf8');
  } catch (error) {
    if (error instanceof KeyError) return null;
    throw error;
  }
}
