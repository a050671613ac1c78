import type { PurposeKey } from '@countersign/keys';
import { sealerOfSettings } from '@countersign/operations';
import {
  changeSettings,
  defaultSettings,
  parseSetting,
  settingsFrom,
  type Settings,
} from '@countersign/verification';

/** The defaults with these providers of texts, sealed as the master would. */
export function settingsWithProviders(seedKey: PurposeKey, providers: readonly object[]): Settings {
  const change = parseSetting('text.providers', JSON.stringify(providers));
  return settingsFrom([changeSettings(defaultSettings, [change], sealerOfSettings(seedKey))]);
}
