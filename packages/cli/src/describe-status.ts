import type { ClusterNode, ClusterView } from '@countersign/api';
import { compareDigests } from './compare-digests.ts';
import type { DigestFinding } from './compare-digests.ts';
import {
  describeLog,
  describeVerificationMargin,
  describeWitnesses,
  describeWriteMargin,
} from './describe-log.ts';
import { describeRotation } from './describe-keys.ts';
import { escapeAll } from './escape-all.ts';
import { formatAgo, formatLocalTime } from './format-time.ts';
import { formatTable } from './table.ts';

/** A clock this far off is a problem; more than 20 s off, the node stops verifying. */
const CLOCK_WARN_MS = 5_000;
/** Fewer revisions behind is what any write looks like for a moment. */
const BEHIND_WARN = 100;

const RED = 31;
const GREEN = 32;
const YELLOW = 33;

/** What is wrong, and what to do about it unless another finding says so already. */
type Finding = { problem: string; advice?: string };

/** The text of `countersign status`, for someone who was just woken up. Pure. */
export function describeStatus(
  untrusted: ClusterView,
  nowMs: number,
  options: { colour: boolean },
): string {
  const view = escapeAll(untrusted);
  const digests = compareDigests(view.nodes);
  const findings = [
    ...findMasterProblems(view, digests),
    ...findLogProblems(view),
    ...findPendingStops(view),
    ...findWitnessProblems(view, nowMs),
    ...view.nodes.flatMap((node) => findNodeProblems(view, node, digests.get(node.name), nowMs)),
  ];
  const state = summarise(view, findings);

  const lines = [
    options.colour ? `\u001b[1;${state.colour}m${state.text}\u001b[0m` : state.text,
    '',
    describeMaster(view, nowMs),
    `failover ${view.failover}, epoch ${view.epoch}, incarnation ${view.incarnation.number}, seen from ${view.answeredBy}`,
    `log: ${describeLog(view)}`,
    ...describeWitnesses(view),
    `writes: ${describeWriteMargin(view)}`,
    `verification: ${describeVerificationMargin(view)}`,
    ...describeKeys(view),
    ...describeExempt(view),
    ...describeUnsignedRadius(view),
    ...describeUncheckedRadius(view),
    ...describeDirectories(view),
    '',
    ...describeNodes(view, digests, nowMs),
  ];
  if (findings.length > 0) {
    lines.push('', 'problems:', ...findings.map(({ problem }) => `  - ${problem}`));
  }
  lines.push('', 'what to do next:', ...listAdvice(findings));
  return `${lines.join('\n')}\n`;
}

const NAMED_MAX = 5;

/** Only while it is being changed. */
function describeKeys({ keys }: ClusterView): string[] {
  return keys?.rotation ? [`cluster key: ${describeRotation(keys.rotation)}`] : [];
}

/** An exemption is nobody's failure, and must not be forgotten either. */
function describeExempt({ exemptUsers }: ClusterView): string[] {
  // An older node does not tell.
  if (!exemptUsers?.length) return [];
  const named = exemptUsers.slice(0, NAMED_MAX).join(', ');
  const more = exemptUsers.length > NAMED_MAX ? `, and ${exemptUsers.length - NAMED_MAX} more` : '';
  return [`without a second step: ${named}${more}`];
}

/** CVE-2024-3596: whoever is between can make an accept of a refusal. */
function describeUnsignedRadius({ unsignedRadius = [] }: ClusterView): string[] {
  if (unsignedRadius.length === 0) return [];
  const named = unsignedRadius
    .slice(0, NAMED_MAX)
    .map(({ name, messageAuthenticator }) => `${name} (${messageAuthenticator})`);
  const more = unsignedRadius.length - named.length;
  const rest = more > 0 ? `, and ${more} more` : '';
  return [`RADIUS without Message-Authenticator: ${named.join(', ')}${rest}`];
}

/** No first factor, where whoever is no user passes: for as long as people are being enrolled, if at all. */
function describeUncheckedRadius({ uncheckedRadius = [] }: ClusterView): string[] {
  if (uncheckedRadius.length === 0) return [];
  const named = uncheckedRadius.slice(0, NAMED_MAX).join(', ');
  const more = uncheckedRadius.length - NAMED_MAX;
  const rest = more > 0 ? `, and ${more} more` : '';
  return [`RADIUS that passes whoever is no user, nothing checked: ${named}${rest}`];
}

/** People go on signing in whatever is wrong there, so it degrades nothing here. */
function describeDirectories({ directories = [], nodes }: ClusterView): string[] {
  // The master tells of what it cannot synchronise itself.
  const told = nodes.flatMap((node) => node.problems);
  const untold = directories.filter(
    ({ name }) => !told.some((one) => one.startsWith(`directory ${name}:`)),
  );
  return untold.flatMap(({ name, problem, held }) => [
    ...(problem === null
      ? []
      : [`directory ${name}: ${problem}; to test it: countersign directory test ${name}`]),
    ...(held === null
      ? []
      : [
          `directory ${name}: a plan for ${held.count} users waits: countersign directory approvals approve ${held.hash.slice(0, 12)}`,
        ]),
  ]);
}

function summarise(view: ClusterView, findings: Finding[]): { text: string; colour: number } {
  if (view.master === null) {
    return { text: 'NO MASTER: verification goes on, nothing can be changed', colour: RED };
  }
  if (!view.quorum) {
    return { text: 'DEGRADED: quorum lost, verification goes on, writes are refused', colour: RED };
  }
  if (findings.length > 0) {
    return { text: 'DEGRADED: the cluster works, but not all is well', colour: YELLOW };
  }
  return { text: 'OK: verification and changes work', colour: GREEN };
}

function describeMaster(view: ClusterView, nowMs: number): string {
  if (view.master === null) {
    return `master: none${view.lastMaster === null ? '' : `, the last one was ${view.lastMaster}`}`;
  }
  if (view.masterSince === null) return `master: ${view.master}`;
  const sinceMs = Date.parse(view.masterSince);
  return `master: ${view.master} since ${formatLocalTime(sinceMs)} (${formatAgo(sinceMs, nowMs)})`;
}

function describeNodes(
  view: ClusterView,
  digests: Map<string, DigestFinding>,
  nowMs: number,
): string[] {
  const rows = view.nodes.map((node) => [
    node.name,
    node.role,
    describeOnline(node, nowMs),
    String(node.revision),
    node.online ? String(node.behind) : '-',
    digests.get(node.name) ?? '-',
    node.version,
    node.online ? describeClock(node.clockOffsetMs) : '-',
  ]);
  const headings = ['NODE', 'ROLE', 'STATE', 'REVISION', 'BEHIND', 'DIGEST', 'VERSION', 'CLOCK'];
  // One that stops stands back too, and says so to the last.
  const fixed = view.nodes
    .filter((node) => node.online && !node.promotable)
    .map((node) => node.name);
  const note = fixed.length === 0 ? [] : [`never becomes master: ${fixed.join(', ')}`];
  return [...formatTable(headings, rows), ...note];
}

function describeOnline(node: ClusterNode, nowMs: number): string {
  if (node.online) return 'online';
  if (node.lastSeen === null) return 'OFFLINE';
  return `OFFLINE (${formatAgo(Date.parse(node.lastSeen), nowMs)})`;
}

function describeClock(offsetMs: number): string {
  if (Math.abs(offsetMs) < 1_000) return 'ok';
  return `${offsetMs < 0 ? '-' : '+'}${(Math.abs(offsetMs) / 1_000).toFixed(1)} s`;
}

export function findMasterProblems(
  view: ClusterView,
  digests: Map<string, DigestFinding>,
): Finding[] {
  // Without the quorum nobody can become master: what to do is said about the log.
  if (view.master !== null || !view.quorum) return [];
  const candidate = bestCandidate(view.nodes, digests);
  if (candidate === null) {
    return [
      {
        problem: 'no master, and no sound node that may become one is online',
        advice: 'start the last master or another promotable node again',
      },
    ];
  }
  const promote = `countersign promote ${candidate}`;
  if (view.failover === 'manual') {
    return [{ problem: 'no master; failover is manual, so no node takes over', advice: promote }];
  }
  return [
    {
      problem: 'no master; another node is about to take over',
      advice: `wait 15 s: a node takes over by itself. If none does: ${promote}`,
    },
  ];
}

function bestCandidate(
  nodes: readonly ClusterNode[],
  digests: Map<string, DigestFinding>,
): string | null {
  const able = nodes.filter(
    (node) =>
      node.online &&
      node.promotable &&
      node.damage === null &&
      digests.get(node.name) !== 'DIFFERS',
  );
  return able.toSorted((a, b) => b.revision - a.revision)[0]?.name ?? null;
}

export function findLogProblems(view: ClusterView): Finding[] {
  const down = view.logServers.filter((server) => !server.online).map((server) => server.name);
  if (!view.quorum) return [describeLostQuorum(view, down)];
  if (view.degraded) {
    return [
      {
        problem: `${view.answeredBy} verifies without the quorum (degraded)`,
        advice: `wait: ${view.answeredBy} goes back by itself once it reaches the log again`,
      },
    ];
  }
  const offline = new Set(
    [...view.nodes, ...(view.witnesses ?? [])].filter((one) => !one.online).map((one) => one.name),
  );
  return down
    .filter((name) => !offline.has(name))
    .map((name) => ({
      problem: `the log server ${name} is down`,
      advice: view.operatorsNats
        ? 'it is one of your own (nats.urls): start it again'
        : `look at the nats-server log of ${name}; it should be running`,
    }));
}

function describeLostQuorum(view: ClusterView, down: string[]): Finding {
  const total = view.logServers.length;
  if (view.operatorsNats && (total === 0 || down.length > 0)) {
    const servers = down.length > 0 ? ` (${down.join(', ')})` : '';
    return {
      problem: 'quorum lost: the log does not answer',
      advice: `wait 15 s; then start the servers of your own NATS again${servers}, or mend the network to them`,
    };
  }
  if (total === 0) {
    return {
      problem: 'quorum lost: the log does not answer',
      advice:
        'wait 15 s: the log may just be choosing a leader. Then see that nats-server runs on the nodes, and check the network between them',
    };
  }
  const problem = `quorum lost: ${total - down.length} of ${total} log servers answer, ${Math.floor(total / 2) + 1} are needed`;
  if (down.length === 0) {
    return {
      problem,
      advice: 'wait 15 s for the log to choose a leader; then check the network between the nodes',
    };
  }
  return { problem, advice: `start ${down.join(' or ')} again, or mend the network to it` };
}

export function findPendingStops(view: ClusterView): Finding[] {
  const { pendingStopFacts, answeredBy } = view;
  // An older node does not tell.
  if (!(pendingStopFacts > 0)) return [];
  const what = pendingStopFacts === 1 ? 'a stop fact is' : `${pendingStopFacts} stop facts are`;
  return [
    {
      problem: `${what} in force on ${answeredBy} and no change of the cluster yet`,
      ...(view.master === null
        ? {}
        : { advice: 'wait: the master makes changes of stop facts by itself' }),
    },
  ];
}

const DAY_MS = 86_400_000;

/** What is wrong with machines that run a log server only. */
export function findWitnessProblems({ witnesses = [] }: ClusterView, nowMs: number): Finding[] {
  return witnesses.flatMap(({ name, online, lastSeen, certificateExpiresAt, problems }) => {
    const daysLeft = Math.floor((Date.parse(certificateExpiresAt) - nowMs) / DAY_MS);
    const found: Finding[] = problems.map((problem) => ({
      problem: `the witness ${name}: ${problem}`,
      advice: `look at the logs of ${name}, and at its disk`,
    }));
    if (!online) {
      const when =
        lastSeen === null ? 'not heard' : `OFFLINE (${formatAgo(Date.parse(lastSeen), nowMs)})`;
      found.push({
        problem: `the witness ${name} is ${when}`,
        advice: `start it again (systemctl start countersign-witness on ${name}); gone for good: countersign node remove ${name}`,
      });
    }
    if (daysLeft >= 7) return found;
    const told = daysLeft < 0 ? 'has expired' : `expires in ${daysLeft} days`;
    found.push({
      problem: `the certificate of the witness ${name} ${told}`,
      advice:
        daysLeft < 0
          ? `countersign node remove ${name}; then let it join again as a witness, under a new name`
          : `let ${name} run: it gets another by itself as soon as a master is there`,
    });
    return found;
  });
}

export function findNodeProblems(
  view: ClusterView,
  node: ClusterNode,
  digest: DigestFinding | undefined,
  nowMs: number,
): Finding[] {
  const { name } = node;
  if (!node.online) {
    const problem = `${name} is ${describeOnline(node, nowMs)}`;
    if (livesInAnotherLog(view, name)) return [{ problem }];
    // Without the quorum the log's advice names the servers to start.
    if (!view.quorum) return [{ problem }];
    return [{ problem, advice: `start ${name} again; it catches up by itself` }];
  }
  const findings: Finding[] = node.problems.map((problem) => ({
    problem: `${name}: ${problem}`,
    advice: adviceFor(name, problem),
  }));
  if (node.damage !== null) {
    const demote = node.role === 'master' ? 'countersign demote; then ' : '';
    findings.push({
      problem: `${name}'s tables do not match its digest: ${node.damage}`,
      advice: `${demote}take ${name} out of the load balancer and refill it (docs/failover.md); countersign doctor ${name} checks it again`,
    });
  }
  if (digest === 'DIFFERS') {
    findings.push({
      problem: `${name} holds other data than the rest at revision ${node.revision}`,
      advice: `take ${name} out of the load balancer, don't promote it, see docs/failover.md`,
    });
  }
  if (node.behind >= BEHIND_WARN) {
    findings.push({
      problem: `${name} is ${node.behind} changes behind`,
      advice: `wait for ${name} to catch up; if the number stays, restart it`,
    });
  }
  if (Math.abs(node.clockOffsetMs) >= CLOCK_WARN_MS) {
    const seconds = (Math.abs(node.clockOffsetMs) / 1_000).toFixed(1);
    findings.push({
      problem: `the clock of ${name} is ${seconds} s ${node.clockOffsetMs < 0 ? 'behind' : 'ahead'}`,
      advice: `set the clock of ${name} (NTP); more than 20 s off, it stops verifying`,
    });
  }
  return findings;
}

const ANOTHER_LOG = 'lives in another log';

/** As one of the others says that can still talk to it. */
function livesInAnotherLog(view: ClusterView, name: string): boolean {
  const says = (problem: string) => problem.startsWith(`${name} ${ANOTHER_LOG}`);
  return view.nodes.some((node) => node.problems.some(says));
}

function adviceFor(name: string, problem: string): string {
  if (problem.includes(ANOTHER_LOG)) {
    return 'decide which log is right, then type on each node of the other: countersign rejoin';
  }
  if (problem.includes('countersign rejoin')) return `on ${name} type: countersign rejoin`;
  if (problem.includes('then move it away')) {
    return `make again what is still wanted of the changes saved on ${name}, then move that file`;
  }
  if (problem.startsWith('directory ') && problem.endsWith('wait for an approval')) {
    return 'look at who that is, and decide: countersign directory approvals list';
  }
  if (problem.startsWith('directory ')) {
    return 'see how it stands: countersign directory sync-status; and from this node: countersign directory test';
  }
  if (/^its (HTTPS|new) certificate /.test(problem)) {
    return `put a good certificate and its key into the files on ${name}; no restart is needed`;
  }
  if (problem.startsWith('its certificate in the cluster')) {
    return `see in the logs of ${name} and of the master why it was not renewed`;
  }
  if (problem.startsWith('the disk under')) {
    return `make room on that disk of ${name}; it comes back by itself within 30 s`;
  }
  if (problem.includes('limits')) {
    return 'set the limits in the configuration of every node, then restart the nodes one by one';
  }
  return `look at the logs of ${name}`;
}

function listAdvice(findings: Finding[]): string[] {
  const advice = findings.flatMap((finding) => finding.advice ?? []);
  if (advice.length === 0) return ['  nothing to do'];
  return [...new Set(advice)].map((line) => `  - ${line}`);
}
