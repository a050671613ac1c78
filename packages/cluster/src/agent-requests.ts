import { NoResponderError, type NatsLink, type Sealer } from './nats-link.ts';
import { agentSubject } from './names.ts';

/** What agents ask of one another, by node name. */
export const AGENT_VERBS = [
  'claim',
  'take-over',
  'applied',
  'hold',
  'release',
  'move',
  'examine',
  'sign-in',
  'step-up',
  'renew-session',
] as const;
export type AgentVerb = (typeof AGENT_VERBS)[number];
export type AgentAnswer = {
  ok: boolean;
  code?: string;
  detail?: string;
  revision?: number;
  result?: unknown;
};

/** `null` = no agent of that node is there; code `silent` = it may still do it. Throws nothing. */
export async function askAgent(
  options: { link: NatsLink; sealer: Sealer },
  node: string,
  verb: AgentVerb,
  body: Record<string, unknown>,
  timeoutMs: number,
): Promise<AgentAnswer | null> {
  const subject = agentSubject(node, verb);
  const sealed = options.sealer.seal(Buffer.from(JSON.stringify(body)), `ask|${subject}`);
  try {
    const reply = await options.link.request(subject, sealed, { timeoutMs });
    const opened = options.sealer.open(reply.data, `answer|${subject}`);
    return JSON.parse(Buffer.from(opened).toString()) as AgentAnswer;
  } catch (error) {
    if (error instanceof NoResponderError) return null;
    return { ok: false, code: 'silent', detail: `${node} did not answer in time` };
  }
}

export function serveAgentRequests(options: {
  link: NatsLink;
  sealer: Sealer;
  node: string;
  handle(verb: AgentVerb, body: Record<string, unknown>): Promise<AgentAnswer>;
}): void {
  options.link.whenFirstConnected((connection) => {
    for (const verb of AGENT_VERBS) {
      const subject = agentSubject(options.node, verb);
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error) return;
          let body: Record<string, unknown>;
          try {
            const opened = options.sealer.open(message.data, `ask|${subject}`);
            body = JSON.parse(Buffer.from(opened).toString()) as Record<string, unknown>;
          } catch {
            return;
          }
          const respond = (answer: AgentAnswer) => {
            const bytes = Buffer.from(JSON.stringify(answer));
            message.respond(options.sealer.seal(bytes, `answer|${subject}`));
          };
          options
            .handle(verb, body)
            .then(respond, (failure: unknown) => {
              respond({ ok: false, code: 'failed', detail: String(failure) });
            })
            // The connection closed meanwhile: nobody is left to answer.
            .catch(() => undefined);
        },
      });
    }
  });
}
