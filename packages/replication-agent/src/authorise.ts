import type { Command, MasterReply } from '@countersign/cluster';
import { findApiKeys, type Database } from '@countersign/database';
import { open, type PurposeKey } from '@countersign/keys';
import { authenticateKey } from '@countersign/operations';
import { scopeOf } from './plan-command.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** What an agent puts into a command from its own 0600 socket; only agents hold the key for it. */
export function socketProofContext(node: string, commandId: string): string {
  return `socket|${node}|${commandId}`;
}

/**
 * Whether the caller may do this, judged from the caller's own proof against the master's replica: what a worker
 * says about its caller counts for nothing.
 */
export async function authoriseCommand(
  options: { db: Database; socketKey: PurposeKey },
  command: Pick<Command, 'name' | 'commandId' | 'proof'>,
): Promise<Refused | null> {
  const { proof } = command;
  if (proof.kind === 'socket') {
    return isFromAgent(options.socketKey, command)
      ? null
      : refused(401, 'unauthorized', 'the proof of the local socket does not open');
  }
  if (proof.kind !== 'api-key' || typeof proof.secret !== 'string') {
    return refused(401, 'unauthorized', 'the command carries no proof of its caller');
  }
  const find = async (hash: string) => (await findApiKeys(options.db, [hash]))[0] ?? null;
  const key = await authenticateKey(find, proof.secret, null, Date.now());
  if (!key) return refused(401, 'unauthorized', 'the API key is unknown, revoked or expired');
  const scope = scopeOf(command.name);
  if (scope !== null && !key.scopes.includes(scope)) {
    return refused(403, 'forbidden', `this needs the scope ${scope}`);
  }
  return null;
}

function isFromAgent(
  key: PurposeKey,
  command: Pick<Command, 'commandId' | 'proof'>,
): boolean {
  try {
    const { node, token } = command.proof;
    open(key, Buffer.from(String(token), 'base64'), socketProofContext(String(node), command.commandId));
    return true;
  } catch {
    return false;
  }
}

function refused(status: number, code: string, detail: string): Refused {
  return { kind: 'refused', status, code, detail };
}
