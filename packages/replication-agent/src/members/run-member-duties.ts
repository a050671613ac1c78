import { setTimeout as sleep } from 'node:timers/promises';
import type { Membership, NatsLink, StopFacts } from '@countersign/cluster';
import { runCommand, sealerOf } from '@countersign/operations';
import type { StopFact } from '@countersign/verification';
import type { AgentShared } from '../agent-life.ts';
import { proveSocket } from '../authorise.ts';
import type { Mastership } from '../mastership.ts';
import { renewOwnCertificateForEver, type Renewal } from './renew-own-certificate.ts';
import {
  clearJoinTokens,
  ensureAuthority,
  MemberWatch,
  signAfterDisaster,
} from './tend-members.ts';
import type { Witnesses } from './witnesses.ts';

const LOOK_EVERY_MS = 1_000;
const TIDY_EVERY_MS = 60_000;
const RENEWAL_TIMEOUT_MS = 10_000;

type Duties = {
  shared: AgentShared;
  link: NatsLink;
  membership: Membership;
  mastership: Mastership;
  stopFacts: StopFacts<StopFact>;
  witnesses: Pick<Witnesses, 'noteMembers'>;
  signal: AbortSignal;
};

/** What an agent has to do with who belongs to the cluster; nothing where it is open on loopback. */
export async function runMemberDuties(duties: Duties): Promise<void> {
  const { identity } = duties.shared.config;
  if (!identity) return;
  await Promise.all([
    tendForEver(duties),
    renewOwnCertificateForEver(renewalOf(duties, identity), duties.signal),
  ]);
}

async function tendForEver({ shared, mastership, witnesses, signal }: Duties): Promise<void> {
  const { db, keys, log, tellSupervisor } = shared;
  const watch = new MemberWatch(
    { db, keys },
    (list) => {
      witnesses.noteMembers(list);
      tellSupervisor({ type: 'members', list });
    },
    log,
  );
  let tidiedAt = -Infinity;
  while (!signal.aborted) {
    try {
      await watch.look();
      if (mastership.isActive) {
        await found(shared, mastership);
        if (performance.now() - tidiedAt > TIDY_EVERY_MS) {
          await clearJoinTokens({ db, keys, mastership });
          await signAfterDisaster({ db, keys, mastership });
          tidiedAt = performance.now();
        }
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'who belongs to the cluster could not be tended');
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function found(shared: AgentShared, mastership: Mastership): Promise<void> {
  const { config, db, keys, tellSupervisor } = shared;
  const founding = config.identity?.founding;
  if (!config.identity || !founding) return;
  if (!(await ensureAuthority({ db, keys, mastership }, founding))) return;
  config.identity.founding = null;
  tellSupervisor({ type: 'founded' });
}

function renewalOf(duties: Duties, identity: Renewal['identity']): Renewal {
  const { shared } = duties;
  return {
    node: shared.config.node,
    identity,
    ask: (args) => askForCertificate(duties, args),
    keep(certificatePem) {
      identity.certificatePem = certificatePem;
      shared.tellSupervisor({ type: 'certificate', certificatePem });
    },
    log: shared.log,
  };
}

/** Of the master, for this node or for a witness, which cannot ask itself. */
export async function askForCertificate(
  {
    shared,
    link,
    membership,
    stopFacts,
  }: Pick<Duties, 'shared' | 'link' | 'membership' | 'stopFacts'>,
  args: Record<string, unknown>,
): Promise<{ certificatePem: string } | { why: string }> {
  const { config, db, keys } = shared;
  const { node } = config;
  const path = {
    ...{ db, node, stopFacts, link, membership },
    sealer: sealerOf(keys.command),
    attemptKey: keys['attempt-id'],
    commandIdKey: keys['command-id'],
  };
  const request = {
    name: 'node.renew' as const,
    args,
    caller: {
      id: `node ${node}`,
      name: `node ${node}`,
      scopes: new Set<never>(),
      applications: null,
      proof: { kind: 'socket' as const, node },
    },
    idempotencyKey: null,
    timeoutMs: RENEWAL_TIMEOUT_MS,
  };
  const reply = await runCommand(path, request, (commandId) =>
    proveSocket(keys['socket-proof'], node, { ...request, commandId }),
  );
  if (reply.kind === 'done') return { certificatePem: String(reply.result.certificatePem) };
  return { why: reply.kind === 'refused' ? reply.detail : reply.kind };
}
