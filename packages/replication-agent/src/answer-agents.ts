import type { AgentAnswer, AgentVerb, Lease, LogLayout } from '@countersign/cluster';
import { holdCircuitOpen, releaseCircuit, type Database } from '@countersign/database';
import type { AdministratorSignIn } from './administrator-sign-in.ts';
import type { authoriseCommand } from './authorise.ts';
import type { AgentConfig } from './config.ts';
import type { Mastership } from './mastership.ts';
import { HOLD_MS } from './move-log.ts';
import type { NodeHealth } from './node-health.ts';
import type { Replica } from './replica.ts';

type Parts = {
  config: AgentConfig;
  db: Database;
  lease: Lease;
  mastership: Mastership;
  replica: Replica;
  health: NodeHealth;
  authorise(command: Parameters<typeof authoriseCommand>[1]): ReturnType<typeof authoriseCommand>;
  examine(): Promise<unknown>;
  signIn: AdministratorSignIn;
  onMove(next: LogLayout): void;
};

const APPLIES_MS = 1000;
const CLAIMED_WITHIN_MS = 2500;
const TAKE_OVER_MS = 12_000;
const ACTIVE_WITHIN_MS = 5000;

/** What other nodes' agents ask of this one. */
export async function answerAgent(
  verb: AgentVerb,
  body: Record<string, unknown>,
  parts: Parts,
): Promise<AgentAnswer> {
  const { db, lease, mastership, replica } = parts;
  switch (verb) {
    case 'applied': {
      const timeoutMs = Number(body.timeoutMs ?? APPLIES_MS);
      return { ok: await replica.waitFor(Number(body.revision), timeoutMs) };
    }
    case 'examine':
      return { ok: true, result: await parts.examine() };
    case 'sign-in': {
      const { username, password, code, address } = body;
      const typed = { username: String(username), password: String(password), code: String(code) };
      return parts.signIn.signIn({
        ...typed,
        address: typeof address === 'string' ? address : null,
      });
    }
    case 'step-up': {
      const { token, code, address } = body;
      const typed = { token: String(token), code: String(code) };
      return parts.signIn.stepUp({
        ...typed,
        address: typeof address === 'string' ? address : null,
      });
    }
    case 'renew-session':
      return parts.signIn.renew(String(body.token));
    case 'claim': {
      await lease.claimOffer();
      const ok = await mastership.waitUntilActive(CLAIMED_WITHIN_MS);
      return { ok, revision: replica.applied.revision };
    }
    case 'hold':
      await holdCircuitOpen(db, 'the log moves', HOLD_MS);
      return { ok: true };
    case 'release':
      await releaseCircuit(db);
      return { ok: true };
    case 'move':
      parts.onMove(body.layout as LogLayout);
      return { ok: true };
    case 'take-over':
      return takeOver(body, parts);
  }
}

async function takeOver(body: Record<string, unknown>, parts: Parts): Promise<AgentAnswer> {
  const { config, lease, mastership, replica } = parts;
  const judged = await parts.authorise({
    name: 'cluster.promote',
    args: { node: config.node },
    commandId: String(body.commandId),
    proof: body.proof as Record<string, unknown>,
  });
  if (judged.kind === 'refused') return { ok: false, code: judged.code, detail: judged.detail };
  if (!config.isPromotable) {
    const detail = `${config.node} is configured with promotable: false`;
    return { ok: false, code: 'not_promotable', detail };
  }
  const [unfit] = parts.health.defects();
  if (unfit) return { ok: false, code: 'not_fit', detail: `${config.node}: ${unfit}` };
  const outcome = await lease.takeOver(TAKE_OVER_MS);
  if (outcome === 'no_quorum') return NO_QUORUM;
  if (outcome !== 'taken') return STILL_HELD;
  if (!(await mastership.waitUntilActive(ACTIVE_WITHIN_MS))) return NOT_YET;
  return { ok: true, revision: replica.applied.revision };
}

const NO_QUORUM: AgentAnswer = {
  ok: false,
  code: 'no_quorum',
  detail: 'the log has no quorum: start more log servers',
};
const NOT_YET: AgentAnswer = {
  ok: false,
  code: 'not_active_yet',
  detail: 'it holds the lease but does not take commands yet: see countersign status',
};
const STILL_HELD: AgentAnswer = {
  ok: false,
  code: 'master_alive',
  detail: 'another node still renews its lease: promote through it',
};
