import type { WitnessWord } from '@countersign/cluster';
import {
  IdentityError,
  isSignedByUser,
  verifyMembers,
  type Identity,
  type MemberList,
} from '@countersign/identity';
import { z } from 'zod';

import { parseNotedLayout } from './layout-file.ts';
import { NodeError } from './node-error.ts';
import { parseJson } from './parse-json.ts';

const server = z.object({
  name: z.string().max(63),
  host: z.string().max(253),
  clientPort: z.int().min(1).max(65_535),
  routePort: z.int().min(1).max(65_535),
});
const signedShape = z.object({
  word: z.string().max(400_000),
  by: z.string().max(64),
  signature: z.string().max(128),
});
const wordShape = z.object({
  witness: z.string(),
  nonce: z.string(),
  node: z.string(),
  members: z.unknown(),
  layout: z.unknown(),
  incarnation: z.int().min(0),
  left: z.array(z.string().max(32)).max(256),
  logServers: z.array(server).max(16),
  storeMark: z.int().min(0),
  certificatePem: z.string().max(32_768).nullable(),
});

/** What a node has told this witness, and the member list with it where that is newer than the witness's own. */
export type ReadWord = { word: WitnessWord; newer: MemberList | null };

/**
 * What a node's agent says, if it does: an answer to what this witness has asked lately, signed by a node that is a
 * member now. The log server that carried it is not believed, and the member list never goes back to an older one.
 * Throws NodeError or IdentityError.
 */
export function readWord(
  value: unknown,
  about: { identity: Identity; nonces: readonly string[] },
): ReadWord {
  const { identity, nonces } = about;
  const signed = signedShape.safeParse(value);
  const parsed = signed.success ? wordShape.safeParse(parseJson(signed.data.word)) : signed;
  if (!signed.success || !parsed.success) throw new NodeError('it is not understood');
  const told = parsed.data;
  if (told.witness !== identity.nodeName || !nonces.includes(told.nonce)) {
    throw new NodeError('it is no answer to what was asked');
  }
  const newer = told.members == null ? null : newerOf(told.members, identity);
  const { members } = newer ?? identity.members;
  const isByNode = members.some(
    ({ role, name, agentKey }) =>
      role === 'node' && name === told.node && agentKey === signed.data.by,
  );
  const { by, word, signature } = signed.data;
  if (!isByNode || !isSignedByUser(by, word, signature)) {
    throw new NodeError('it is not signed by a node of this cluster');
  }
  const { layout } = parseNotedLayout({ layout: told.layout, runsLogServer: false });
  return { word: { ...told, layout }, newer };
}

/** Null: it is the one that is there, or none that is newer. */
function newerOf(value: unknown, { caPem, clusterId, members }: Identity): MemberList | null {
  const list = verifyMembers(value, { caPem, clusterId });
  return list.version > members.version ? list : null;
}

/** What to say of a word that was not believed. */
export function explainDisbelief(error: unknown): string {
  const isExpected = error instanceof NodeError || error instanceof IdentityError;
  return isExpected ? error.message : String(error);
}
