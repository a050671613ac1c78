import { randomUUID } from 'node:crypto';
import { directoryDefaults } from '@countersign/directory';
import type { PurposeKey } from '@countersign/keys';
import { sealDirectoryPassword } from '@countersign/operations';
import type { DirectoryDocument } from '@countersign/verification';

type About = Pick<DirectoryDocument, 'name' | 'type' | 'domains' | 'servers' | 'baseDn'> &
  Partial<DirectoryDocument>;

/** A directory of the settings, read as `reader`; its people come into being by hand. */
export function testDirectory(
  seedKey: PurposeKey,
  reader: { name: string; password: string },
  about: About,
): DirectoryDocument {
  const at = new Date().toISOString();
  const defaults = directoryDefaults(about.type);
  const plain = {
    ...defaults,
    id: randomUUID(),
    account: { name: reader.name, sealedPassword: '' },
    defaultCountry: 'NL',
    sync: { ...defaults.sync, enabled: false, intervalMinutes: 5, fullHours: 24 },
    items: [],
    createdAt: at,
    updatedAt: at,
    ...about,
  };
  const sealedPassword = sealDirectoryPassword(seedKey, plain, reader.password);
  return { ...plain, account: { name: reader.name, sealedPassword } };
}
