import type { Command, LogLayout, LogServerAddress } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import {
  fingerprintOf,
  formatJoinToken,
  splitCertificates,
  tokenPublicKey,
  type MemberList,
} from '@countersign/identity';
import type { CommandKeys } from '../commands/plan.ts';
import { findMade, newJoinSecret } from '../new-secrets.ts';
import { readAuthority, readJoinToken, readMembers } from './member-documents.ts';

/** What a joiner is told that stands in no document. */
export type Joining = {
  layout: LogLayout;
  /** All that are known, whether they are of the layout or not. */
  logServers(): LogServerAddress[];
  /**
   * The cluster key, encrypted for the key of that certificate: the supervisor does it, who alone holds it. Null: it
   * does not answer, or refuses.
   */
  wrapClusterKey(about: { certificatePem: string; list: MemberList }): Promise<string | null>;
};

type Options = { db: Database; keys: CommandKeys; joining?: Joining };
type Result = Record<string, unknown>;

/** The token itself, made again from the command's id; not once it is revoked. */
export async function describeJoinToken(
  options: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const [authority, token] = await Promise.all([
    readAuthority(options),
    readJoinToken(options, String(result.id)),
  ]);
  if (!authority || !token) return result;
  const secret = await findMade(
    options.keys['new-secret'],
    (key) => newJoinSecret(key, { commandId, at: token.createdAt }),
    (one) => tokenPublicKey(one) === token.publicKey,
  );
  if (!secret) return result;
  const { clusterId, certificatesPem } = authority;
  const caFingerprint = fingerprintOf(certificatesPem);
  return {
    ...result,
    token: formatJoinToken({ clusterId, caFingerprint, tokenId: token.id, secret }),
  };
}

/** All that a new member needs; `clusterKey` is null for a witness, and while the supervisor is silent. */
export async function describeJoin(options: Options, result: Result): Promise<Result> {
  const { joining } = options;
  const [authority, stored] = await Promise.all([readAuthority(options), readMembers(options)]);
  if (!authority || !stored || !joining) return result;
  const { list } = stored.document;
  const certificatePem = withAuthority(result, authority.certificatesPem);
  const isNode = result.role === 'node';
  return {
    ...result,
    certificatePem,
    caPem: authority.certificatesPem,
    members: list,
    layout: joining.layout,
    logServers: joining.logServers(),
    clusterKey: isNode ? await joining.wrapClusterKey({ certificatePem, list }) : null,
  };
}

export async function describeRenewal(options: Options, result: Result): Promise<Result> {
  const authority = await readAuthority(options);
  if (!authority) return result;
  return { ...result, certificatePem: withAuthority(result, authority.certificatesPem) };
}

function withAuthority({ certificatePem }: Result, certificatesPem: string): string {
  return `${String(certificatePem)}\n${splitCertificates(certificatesPem).join('\n')}\n`;
}
