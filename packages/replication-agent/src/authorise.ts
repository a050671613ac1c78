import { createHash } from 'node:crypto';
import type { Command, MasterReply } from '@countersign/cluster';
import { findApiKeys, type Database } from '@countersign/database';
import { open, seal, type PurposeKey } from '@countersign/keys';
import { authenticateKey } from '@countersign/operations';
import { API_SCOPES, type ApiKeyDocument } from '@countersign/verification';
import { scopeOf } from './plan-command.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** What a caller may do, and so may hand on. */
export type Rights = Pick<ApiKeyDocument, 'scopes' | 'applications' | 'networks' | 'expiresAt'>;
export type Allowed = { kind: 'allowed'; rights: Rights };

const EVERY_RIGHT: Rights = {
  scopes: [...API_SCOPES],
  applications: null,
  networks: null,
  expiresAt: null,
};

type Wish = Pick<Command, 'name' | 'args' | 'commandId'>;

/** Clocks of nodes that verify differ by less, and no command waits as long. */
const PROOF_LASTS_MS = 120_000;

/**
 * What an agent puts into a command from its own 0600 socket; only agents hold the key for it. Workers can read
 * commands on their way, so it is worth nothing in another command, or later.
 */
export function proveSocket(
  key: PurposeKey,
  node: string,
  command: Wish,
  nowMs = Date.now(),
): Record<string, unknown> {
  const sealed = seal(key, Buffer.from(String(nowMs)), proofContext(node, command));
  return { kind: 'socket', node, token: sealed.toString('base64') };
}

function proofContext(node: string, { name, args, commandId }: Wish): string {
  const wish = createHash('sha256')
    .update(JSON.stringify([name, args]))
    .digest('hex');
  return `socket|${node}|${commandId}|${wish}`;
}

/**
 * Whether the caller may do this, judged from the caller's own proof against the master's replica: what a worker
 * says about its caller counts for nothing.
 */
export async function authoriseCommand(
  options: { db: Database; socketKey: PurposeKey },
  command: Wish & Pick<Command, 'proof'>,
): Promise<Allowed | Refused> {
  const { proof } = command;
  if (proof.kind === 'socket') {
    return isFromAgent(options.socketKey, command)
      ? { kind: 'allowed', rights: EVERY_RIGHT }
      : refused(401, 'unauthorized', 'the proof of the local socket does not open');
  }
  if (proof.kind !== 'api-key' || typeof proof.secret !== 'string') {
    return refused(401, 'unauthorized', 'the command carries no proof of its caller');
  }
  const find = async (hash: string) => (await findApiKeys(options.db, [hash]))[0]?.document ?? null;
  // Where the request came from only its worker knows; what it tells is held against the key's networks here too.
  const address = typeof proof.remoteAddress === 'string' ? proof.remoteAddress : null;
  const key = await authenticateKey(find, proof.secret, address, Date.now());
  if (!key) return refused(401, 'unauthorized', 'the API key is unknown, revoked or expired');
  const scope = scopeOf(command.name);
  if (scope !== null && !key.scopes.includes(scope)) {
    return refused(403, 'forbidden', `this needs the scope ${scope}`);
  }
  return { kind: 'allowed', rights: key };
}

function isFromAgent(key: PurposeKey, command: Wish & Pick<Command, 'proof'>): boolean {
  try {
    const { node, token } = command.proof;
    const sealed = Buffer.from(String(token), 'base64');
    const madeAt = Number(open(key, sealed, proofContext(String(node), command)).toString());
    return Math.abs(Date.now() - madeAt) < PROOF_LASTS_MS;
  } catch {
    return false;
  }
}

function refused(status: number, code: string, detail: string): Refused {
  return { kind: 'refused', status, code, detail };
}
