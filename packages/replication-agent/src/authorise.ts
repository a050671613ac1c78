import { createHash } from 'node:crypto';
import type { Command, MasterReply } from '@countersign/cluster';
import { findApiKeys, findInvited, readForSession, type Database } from '@countersign/database';
import { open, seal, type PurposeKey } from '@countersign/keys';
import {
  authenticateKey,
  authenticateSession,
  hashApiKey,
  lackOfFactor,
} from '@countersign/operations';
import {
  hasRight,
  RIGHTS,
  rightsOf,
  type AdministratorDocument,
  type ApiKeyDocument,
  type Right,
} from '@countersign/verification';
import { areSessionsPaused } from './keys/are-sessions-paused.ts';
import { authoriseJoin } from './members/authorise-join.ts';
import { needsFreshFactor, reasonOf } from './needs-fresh-factor.ts';
import { scopeOf } from './plan-command.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** What a caller may do, and so may hand on. */
export type Rights = Pick<ApiKeyDocument, 'applications' | 'networks' | 'expiresAt'> & {
  scopes: readonly Right[];
};
export type Allowed = {
  kind: 'allowed';
  rights: Rights;
  /** Whose session or invitation it is; missing: an API key, or the local socket. */
  administratorId?: string;
  /** Why, in the caller's words; only people say so. */
  reason?: string;
};

const UNBOUND = { applications: null, networks: null, expiresAt: null };
const EVERY_RIGHT: Rights = { ...UNBOUND, scopes: RIGHTS };
/** Of whoever accepts an invitation: that alone. */
const NO_RIGHT: Rights = { ...UNBOUND, scopes: [] };

type Wish = Pick<Command, 'name' | 'args' | 'commandId'>;
export type ProofKeys = Record<
  'socket-proof' | 'session' | 'session-proof' | 'document',
  PurposeKey
>;

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
  options: { db: Database; keys: ProofKeys },
  command: Wish & Pick<Command, 'proof'> & Partial<Pick<Command, 'actor'>>,
): Promise<Allowed | Refused> {
  const { proof } = command;
  if (proof.kind === 'socket') {
    return isFromAgent(options.keys['socket-proof'], command)
      ? { kind: 'allowed', rights: EVERY_RIGHT }
      : refused(401, 'unauthorized', 'the proof of the local socket does not open');
  }
  if (proof.kind === 'session') return authoriseSession(options, command, Date.now());
  if (proof.kind === 'join-token') return authoriseJoin(options, command);
  if (proof.kind === 'invitation') return authoriseInvitation(options.db, command, Date.now());
  if (proof.kind !== 'api-key' || typeof proof.secret !== 'string') {
    return refused(401, 'unauthorized', 'the command carries no proof of its caller');
  }
  const find = async (hash: string) => (await findApiKeys(options.db, [hash]))[0]?.document ?? null;
  // Where the request came from only its worker knows; what it tells is held against the key's networks here too.
  const address = typeof proof.remoteAddress === 'string' ? proof.remoteAddress : null;
  const key = await authenticateKey(find, proof.secret, address, Date.now());
  if (!key) return refused(401, 'unauthorized', 'the API key is unknown, revoked or expired');
  return lackOf(command.name, key.scopes) ?? { kind: 'allowed', rights: key };
}

/**
 * A person's session, opened with a key that only agents have, so that no worker can make one. API keys act by their
 * scopes alone: nobody is there to show a second factor, and a key says itself what it may do. Therefore no key has a
 * right over administrators.
 */
async function authoriseSession(
  { db, keys }: { db: Database; keys: ProofKeys },
  command: Parameters<typeof authoriseCommand>[1],
  nowMs: number,
): Promise<Allowed | Refused> {
  const { token } = command.proof;
  const read = (of: Parameters<typeof readForSession>[1]) => readForSession(db, of);
  const session =
    typeof token === 'string' ? await authenticateSession({ keys, read }, token, nowMs) : null;
  if (!session) return refused(401, 'unauthorized', 'the session is over: countersign login');
  const { administrator, claims } = session;
  const impostor = refuseImpostor(command, administrator);
  if (impostor) return impostor;
  const scopes = rightsOf(administrator.roles);
  const lack = lackOf(command.name, scopes);
  if (lack) return lack;
  if (await areSessionsPaused({ db, keys })) return SESSIONS_PAUSED;
  const reason = reasonOf(command);
  if (needsFreshFactor(command.name, command.args)) {
    const { secondFactorAt } = claims;
    const stale = lackOfFactor({ secondFactorAt, reason }, nowMs);
    if (stale) return stale;
  }
  return {
    kind: 'allowed',
    rights: { ...UNBOUND, scopes },
    administratorId: administrator.id,
    ...(reason !== null && { reason }),
  };
}

/** Whoever has the code of an invitation may accept it, once. */
async function authoriseInvitation(
  db: Database,
  command: Parameters<typeof authoriseCommand>[1],
  nowMs: number,
): Promise<Allowed | Refused> {
  const { secret } = command.proof;
  const codeHash = hashApiKey(typeof secret === 'string' ? secret : '');
  const invited = await findInvited(db, { codeHash, nowMs });
  if (!invited || command.name !== 'administrator.accept') return NO_INVITATION;
  return (
    refuseImpostor(command, invited) ?? {
      kind: 'allowed',
      rights: NO_RIGHT,
      administratorId: invited.id,
    }
  );
}

/** What the log and the events call the caller is the worker's word. */
function refuseImpostor(
  { actor }: Partial<Pick<Command, 'actor'>>,
  { username }: AdministratorDocument,
): Refused | null {
  if (actor === undefined || actor === username) return null;
  return refused(401, 'unauthorized', 'the command names another caller than its proof');
}

function lackOf(commandName: string, scopes: readonly Right[]): Refused | null {
  const right = scopeOf(commandName);
  if (right === null || hasRight(new Set(scopes), right)) return null;
  return refused(403, 'forbidden', `this needs the scope ${[right].flat().join(' or ')}`);
}

const SESSIONS_PAUSED = refused(
  403,
  'sessions_paused',
  'a node was removed that could forge sessions: they count again when the new cluster key is active ' +
    '(countersign keys show); until then use an API key, or the socket of a node',
);

const NO_INVITATION = refused(
  401,
  'invalid_invitation',
  'the invitation is unknown, used or over: ask for another one',
);

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
