import {
  aliveSubject,
  ALL_ALIVE,
  ALL_HEARTBEATS,
  ASK_SUBJECT,
  agentSubject,
  heartbeatSubject,
  INCARNATION_STREAM,
  SETTLED_SUBJECT,
  STOP_FACTS_SUBJECT,
  witnessSubject,
} from './names.ts';

/** Who connects to secured log servers. Everybody has an nkey of its own. */
export type LogRole = 'agent' | 'worker' | 'supervisor' | 'witness';

/** Subjects of NATS; a second word is the queue group that may listen there. */
export type LogPermissions = { publish: string[]; subscribe: string[] };

/** What is answered to this process of this node lies below. */
export function inboxPrefixOf(node: string, role: LogRole): string {
  return `_INBOX.${node}.${role}`;
}

/** What the log servers let each role say and hear; whatever is not here they refuse. */
export function permissionsOf(role: LogRole, node: string): LogPermissions {
  const { publish, subscribe } = PERMISSIONS[role](node);
  return { publish, subscribe: [`${inboxPrefixOf(node, role)}.>`, ...subscribe] };
}

const PERMISSIONS: Record<LogRole, (node: string) => LogPermissions> = {
  agent: (node) => ({
    publish: [
      'change.>',
      `event.*.${node}`,
      '$KV.>',
      '$JS.API.>',
      '$JS.FC.>',
      heartbeatSubject(node),
      agentSubject('*', '*'),
      'cs.command.*',
      'cs.hello',
      STOP_FACTS_SUBJECT,
      '_INBOX.>',
    ],
    subscribe: ['cs.>'],
  }),
  // Front of everything from outside, so it gets least: it spends codes, stops people and asks, but neither writes the
  // change log or the lease, nor touches a stream, nor answers an agent in the place of a log server.
  worker: (node) => ({
    publish: [
      '$KV.STATES.*.*',
      '$KV.STOPS.*.*',
      '$KV.PARKED.*.*',
      '$JS.API.STREAM.INFO.*',
      '$JS.API.STREAM.MSG.GET.*',
      '$JS.API.DIRECT.GET.>',
      aliveSubject(node),
      ASK_SUBJECT,
      SETTLED_SUBJECT,
      STOP_FACTS_SUBJECT,
      'cs.command.*',
      agentSubject('*', 'examine'),
      agentSubject('*', 'take-over'),
      agentSubject(node, 'sign-in'),
      agentSubject(node, 'step-up'),
      agentSubject(node, 'renew-session'),
      inboxPrefixOf('*', 'worker') + '.>',
    ],
    subscribe: [
      ALL_ALIVE,
      ALL_HEARTBEATS,
      // In its node's name only: what another node is asked must reach that one.
      ...[ASK_SUBJECT, SETTLED_SUBJECT, STOP_FACTS_SUBJECT].map((subject) => `${subject} ${node}`),
    ],
  }),
  supervisor: () => ({ publish: ['$SYS.REQ.SERVER.*.VARZ'], subscribe: [] }),
  // It says that it is there, is told which log servers there are, and asks whether its own is heard.
  witness: (node) => ({
    publish: [witnessSubject(node), `$JS.API.STREAM.INFO.${INCARNATION_STREAM}`],
    subscribe: [],
  }),
};
