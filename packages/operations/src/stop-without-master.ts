import { randomUUID } from 'node:crypto';
import type { CommandReply, CommandRequest } from '@countersign/api';
import type { StopFacts } from '@countersign/cluster';
import {
  addStopFact,
  beginAttempts,
  findUser,
  listApiKeys,
  readApplied,
  readSettings,
  type AuditEvent,
  type Database,
} from '@countersign/database';
import {
  isLastFullKey,
  isLastOwner,
  SESSION_HOURS,
  STOP_FACTS_PER_MINUTE_MAX,
  STOP_FACTS_PER_USER_MAX,
  type AdministratorDocument,
  type StopFact,
} from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import {
  findAdministrators,
  lackOfFactor,
  LAST_OWNER,
  overreachOf,
  refused,
  UNKNOWN_ADMINISTRATOR,
  type Refusal,
} from './administrator-rules.ts';

export type StopPath = { db: Database; node: string; stopFacts: StopFacts<StopFact> };

type Stopped = Extract<CommandReply, { kind: 'done' | 'stopped' | 'refused' }>;
type Subject = Pick<StopFact, 'kind' | 'subject' | 'reason' | 'expiresAt'> & {
  event: Pick<AuditEvent, 'userId' | 'username' | 'details'> & { type?: string };
};

/** Commands that any node carries out by itself while no master does: they only ever take rights away. */
const STOPS: Record<
  string,
  (
    db: Database,
    args: Record<string, unknown>,
    nowMs: number,
    caller: CommandRequest['caller'],
  ) => Promise<Subject | Told | Refusal>
> = {
  'user.block': stopUser,
  'user.report-fraud': stopFraud,
  'api-key.revoke': stopApiKey,
  'administrator.remove': stopAdministrator,
  'session.revoke': stopSessions,
};

/** Of these no change is ever made: what they stop ends by itself within hours. */
const ONLY_STOPS: ReadonlySet<string> = new Set(['session.revoke']);

/** Whether no master is needed, or asked. */
export function isOnlyStop(commandName: string): boolean {
  return ONLY_STOPS.has(commandName);
}

/** The settings do not want it stopped: it is written down. */
type Told = { isOnlyTold: true; event: Subject['event'] };

/** Whether this reply to such a command leaves it undone, or perhaps undone: a stop must not be a maybe. */
export function wantsStopFact(request: CommandRequest, reply: CommandReply): boolean {
  if (!(request.name in STOPS)) return false;
  if (reply.kind === 'master_offline' || reply.kind === 'outcome_unknown') return true;
  return reply.kind === 'refused' && reply.status === 503;
}

/**
 * Accepts the command as a stop fact: in force on this node when it returns, told to whoever can be reached.
 * `commandId` is the fact's id: the same request again is the same fact.
 */
export async function stopWithoutMaster(
  path: StopPath,
  request: CommandRequest,
  commandId: string,
): Promise<Stopped> {
  const { db, node, stopFacts } = path;
  const now = new Date();
  const found = await STOPS[request.name]!(db, request.args, now.getTime(), request.caller);
  if ('status' in found) return found;
  const id = request.idempotencyKey === null ? randomUUID() : commandId;
  const at = now.toISOString();
  if ('isOnlyTold' in found) return tellOnly(path, eventOf(request, { node, at }, found.event));
  const { event, ...subject } = found;
  const fact: StopFact = { id, ...subject, by: request.caller.name, node, at };
  const told = { ...event, details: { ...event.details, stopFact: id } };
  const outcome = await addStopFact(db, fact, eventOf(request, fact, told));
  if (outcome !== 'stopped') return tooMany(outcome);
  stopFacts.tell(node, [fact]);
  return { kind: 'stopped', fact };
}

async function stopUser(
  db: Database,
  args: Record<string, unknown>,
  nowMs: number,
): Promise<Subject | Refusal> {
  const user = await findUser(db, String(args.username));
  if (user === null) return refused(404, 'unknown_user', 'There is no such user.');
  if (user === 'ambiguous') {
    return refused(409, 'ambiguous_user', 'The name fits more than one user.');
  }
  const reason = String(args.reason);
  const days = Number(args.days ?? (await readSettings(db)).settings.blocks.days);
  return {
    kind: 'user',
    subject: user.id,
    reason,
    expiresAt: new Date(nowMs + days * 86_400_000).toISOString(),
    event: { userId: user.id, username: user.document.username, details: { reason, days } },
  };
}

export const FRAUD_REASON = 'fraud reported';

async function stopFraud(
  db: Database,
  args: Record<string, unknown>,
  nowMs: number,
): Promise<Subject | Told | Refusal> {
  const { settings } = await readSettings(db);
  const { onFraud, days } = settings.blocks;
  const said = typeof args.reason === 'string' ? { reason: args.reason } : {};
  const reason = said.reason ? `${FRAUD_REASON}: ${said.reason}` : FRAUD_REASON;
  const found = await stopUser(db, { username: args.username, reason, days }, nowMs);
  if ('status' in found) return found;
  const event = { ...found.event, type: 'fraud', details: { blocks: onFraud, ...said } };
  return onFraud ? { ...found, event } : { isOnlyTold: true, event };
}

async function stopApiKey(
  db: Database,
  args: Record<string, unknown>,
  nowMs: number,
): Promise<Subject | Refusal> {
  const keys = (await listApiKeys(db)).filter(({ isRevoked }) => !isRevoked);
  const documents = keys.map(({ document }) => document);
  const key = documents.find(({ id }) => id === args.id);
  if (!key) return refused(404, 'unknown_api_key', 'There is no such API key.');
  if (!args.evenLast && isLastFullKey(documents, key.id, nowMs)) return LAST_FULL_KEY;
  return {
    kind: 'api-key',
    subject: key.id,
    reason: 'revoked',
    expiresAt: null,
    event: { userId: null, username: null, details: { id: key.id, name: key.name } },
  };
}

/** By the same rules as the master: whoever could not ask it cannot ask its absence. */
async function stopAdministrator(
  db: Database,
  args: Record<string, unknown>,
  nowMs: number,
  caller: CommandRequest['caller'],
): Promise<Subject | Refusal> {
  const found = await findTarget(db, String(args.username), caller);
  if ('status' in found) return found;
  const { target, all } = found;
  if (caller.session) {
    const { secondFactorAt } = caller.session;
    const lack = lackOfFactor({ secondFactorAt, reason: reasonOf(caller) }, nowMs);
    if (lack) return lack;
  }
  if (isLastOwner(all, target.id)) return LAST_OWNER;
  return stopOf('administrator', target, { id: target.id, expiresAt: null, caller });
}

/** The session that asks, or all that somebody has. */
async function stopSessions(
  db: Database,
  args: Record<string, unknown>,
  nowMs: number,
  caller: CommandRequest['caller'],
): Promise<Subject | Refusal> {
  if (typeof args.username !== 'string') {
    if (!caller.session) return refused(409, 'no_session', 'There is no session to end.');
    const { id, expiresAt } = caller.session;
    const who = { username: caller.name };
    return stopOf('session', who, { id, expiresAt: new Date(expiresAt).toISOString(), caller });
  }
  const found = await findTarget(db, args.username, caller, { isOwnAllowed: true });
  if ('status' in found) return found;
  const lastEnd = nowMs + (SESSION_HOURS + 1) * 3_600_000;
  const { id } = found.target;
  return stopOf('session', found.target, {
    id,
    expiresAt: new Date(lastEnd).toISOString(),
    caller,
  });
}

function stopOf(
  kind: 'administrator' | 'session',
  { username }: Pick<AdministratorDocument, 'username'>,
  {
    id,
    expiresAt,
    caller,
  }: { id: string; expiresAt: string | null } & Pick<CommandRequest, 'caller'>,
): Subject {
  const reason = reasonOf(caller) ?? (kind === 'session' ? 'signed out' : 'removed');
  return {
    kind,
    subject: id,
    reason,
    expiresAt,
    event: { userId: null, username: null, details: { administrator: username, reason } },
  };
}

function reasonOf({ proof }: CommandRequest['caller']): string | null {
  return proof.kind === 'session' ? (proof.reason ?? null) : null;
}

async function findTarget(
  db: Database,
  username: string,
  caller: CommandRequest['caller'],
  { isOwnAllowed = false } = {},
): Promise<{ target: AdministratorDocument; all: AdministratorDocument[] } | Refusal> {
  const { named: target, all } = await findAdministrators(db, username);
  if (!target) return UNKNOWN_ADMINISTRATOR;
  const overreach = overreachOf(
    { scopes: [...caller.scopes], administratorId: caller.session?.administratorId },
    { target },
  );
  const isOwn = target.id === caller.session?.administratorId;
  return overreach && !(isOwn && isOwnAllowed) ? overreach : { target, all };
}

/** Also the master's words for it. */
export const LAST_FULL_KEY: Refusal = refused(
  409,
  'last_full_api_key',
  'This is the last API key with every right: without it only the local socket of a node can change keys. ' +
    'Confirm that it is meant.',
);

function eventOf(
  request: CommandRequest,
  { at, node }: Pick<StopFact, 'at' | 'node'>,
  { type = request.name, userId, username, details }: Subject['event'],
): AuditEvent {
  return {
    id: uuidv7(),
    at,
    type,
    node,
    userId,
    username,
    actor: request.caller.name,
    application: null,
    clientAddress: null,
    result: 'done',
    reason: null,
    degraded: !isOnlyStop(request.name),
    durationMs: null,
    details,
  };
}

async function tellOnly({ db }: StopPath, event: AuditEvent): Promise<Stopped> {
  await beginAttempts(db, [{ reservation: null, event, isFinal: true }]);
  const { revision = 0 } = (await readApplied(db)) ?? {};
  return {
    kind: 'done',
    revision,
    applied: true,
    result: { userId: event.userId, blocked: false },
  };
}

function tooMany(outcome: 'too_many_of_subject' | 'too_many_of_node'): Refusal {
  const what =
    outcome === 'too_many_of_subject'
      ? `${STOP_FACTS_PER_USER_MAX} stop facts about it are in force already`
      : `this node has accepted ${STOP_FACTS_PER_MINUTE_MAX} stop facts within a minute`;
  return refused(429, 'too_many_stop_facts', `There is no master, and ${what}.`);
}
