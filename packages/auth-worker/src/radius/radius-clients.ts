import type { ReadSettings } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { openRadiusSecret, radiusSecretContext } from '@countersign/operations';
import {
  makeClientMatcher,
  parseAttribute,
  RadiusError,
  type ServerClient,
} from '@countersign/radius';
import {
  findApplication,
  settingsFor,
  usernameKey,
  type RadiusClientDocument,
  type RadiusReply,
} from '@countersign/verification';
import type { AskingClient } from './handle-access-request.ts';

export type FrontClient = ServerClient & AskingClient;

export type FoundClients = {
  find(address: string): FrontClient | null;
  /** Clients that cannot be served as they stand, and why. */
  unusable: { client: string; problem: string }[];
};

/**
 * The clients of one revision of the settings. `secrets` keeps a secret's Buffer for as long as it stays as it is. A
 * client of which anything cannot be read is not served: what it should return may be what limits somebody.
 */
export function makeRadiusClients(
  { radiusClients, settings, applications }: ReadSettings,
  { seedKey, secrets }: { seedKey: PurposeKey; secrets: Map<string, Buffer> },
): FoundClients {
  const unusable: FoundClients['unusable'] = [];
  const entries: { addresses: string[]; client: FrontClient | null }[] = [];
  const taken = new Set<string>();
  for (const document of radiusClients.filter(({ enabled }) => enabled)) {
    // Two clients have one only while a replica catches up with a change.
    const addresses = document.addresses.filter((network) => !taken.has(network));
    for (const network of addresses) taken.add(network);
    try {
      const application = findApplication(applications, document.application);
      const { company, events } = settingsFor(settings, application);
      const sealed = sealedOf(document);
      const secret = secrets.get(sealed) ?? openRadiusSecret(seedKey, document);
      secrets.set(sealed, secret);
      const client = {
        name: document.name,
        secret,
        messageAuthenticator: document.messageAuthenticator,
        needsNas: document.isBalancer,
        document,
        language: company.language,
        recordsAddresses: events.recordAddresses,
        replies: document.replies.map(readReply),
      };
      entries.push({ addresses, client });
    } catch (error) {
      // Nor as another client whose network is wider, and which may return less.
      entries.push({ addresses, client: null });
      unusable.push({ client: document.name, problem: problemOf(error) });
    }
  }
  forgetOthers(secrets, radiusClients);
  return { find: makeClientMatcher(entries), unusable };
}

function readReply(reply: RadiusReply): AskingClient['replies'][number] {
  return {
    group: reply.group === null ? null : usernameKey(reply.group),
    attribute: parseAttribute(reply.attribute, reply.value),
  };
}

/** Nothing in it shows a secret. */
function problemOf(error: unknown): string {
  if (error instanceof RadiusError) return error.message;
  return 'its secret does not open: set it again';
}

/** A secret that was opened is no other client's, nor that of other addresses. */
function sealedOf(document: RadiusClientDocument): string {
  return `${radiusSecretContext(document)}|${document.sealedSecret}`;
}

function forgetOthers(secrets: Map<string, Buffer>, clients: RadiusClientDocument[]): void {
  const kept = new Set(clients.map(sealedOf));
  for (const sealed of secrets.keys()) if (!kept.has(sealed)) secrets.delete(sealed);
}
