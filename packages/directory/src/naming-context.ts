import type { BoundClient } from './bound-client.ts';
import { readTexts } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { dnKey, isUnder } from './dn.ts';
import type { DirectoryConfig } from './types.ts';

/** The partition of the directory that the base DN is in, such as a domain. Throws DirectoryError. */
export async function readNamingContext(
  client: BoundClient,
  config: DirectoryConfig,
): Promise<string> {
  const { entries } = await client.search('', {
    scope: 'base',
    filter: '(objectClass=*)',
    attributes: ['namingContexts'],
  });
  const contexts = entries[0] ? readTexts(entries[0], 'namingContexts') : [];
  const base = dnKey(config.baseDn);
  const [context] = contexts
    .filter((one) => isUnder(base, dnKey(one)))
    .sort((a, b) => b.length - a.length);
  if (context !== undefined) return context;
  throw new DirectoryError('base_dn', `the server does not hold ${config.baseDn}`);
}
