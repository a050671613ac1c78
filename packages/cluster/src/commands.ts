import type { Membership, SeenNode } from './membership.ts';
import { NoResponderError, type NatsLink, type Sealer } from './nats-link.ts';
import { commandSubject } from './names.ts';

/** A wish to change something, on its way to the master's agent. */
export type Command = {
  commandId: string;
  contentHash: string;
  name: string;
  args: Record<string, unknown>;
  /** Shown in the log and in events. */
  actor: string;
  /** What the master's agent checks before it executes anything. */
  proof: Record<string, unknown>;
  /** How much longer the caller waits; a duration, so that clocks need not agree. */
  remainingMs: number;
};

export type MasterReply =
  | { kind: 'done'; revision: number; result: Record<string, unknown> }
  | { kind: 'refused'; status: number; code: string; detail: string }
  /** Not executed and never will be: this process is not master (any more). */
  | { kind: 'not_master' }
  | { kind: 'handing_over' }
  /** It may have been executed. */
  | { kind: 'unknown' };

export type CommandOutcome =
  | Extract<MasterReply, { kind: 'done' | 'refused' }>
  | { kind: 'master_offline' }
  | { kind: 'outcome_unknown' };

/** How long a write waits for the next master of a planned hand-over. */
export const HAND_OVER_HOLD_MS = 2000;
const LINK_WAIT_MS = 500;

/** Carries one command to whoever is master, through at most one planned hand-over. */
export async function sendCommand(
  options: { link: NatsLink; membership: Membership; sealer: Sealer },
  command: Omit<Command, 'remainingMs'>,
  timeoutMs: number,
): Promise<CommandOutcome> {
  const start = performance.now();
  const remaining = () => timeoutMs - (performance.now() - start);
  const holdUntil = start + Math.min(HAND_OVER_HOLD_MS, timeoutMs);
  let refused: Refusal | null = null;
  if (!(await options.link.waitUntilUp(LINK_WAIT_MS))) return { kind: 'master_offline' };
  for (;;) {
    const master = await nextMaster(options.membership, refused, holdUntil);
    if (!master || remaining() <= 0) return { kind: 'master_offline' };
    const reply = await requestMaster(options, master, { ...command, remainingMs: remaining() });
    if (reply.kind === 'unknown') return { kind: 'outcome_unknown' };
    if (reply.kind === 'done' || reply.kind === 'refused') return reply;
    if (reply.kind === 'gone' && !options.membership.isHandOverUnderWay()) {
      return { kind: 'master_offline' };
    }
    // Certainly not executed: whoever answers next may run it.
    const isHandingOver = reply.kind === 'handing_over';
    refused = { by: master, isHandingOver, at: performance.now() };
    if (performance.now() >= holdUntil) return { kind: 'master_offline' };
  }
}

type Refusal = { by: SeenNode; isHandingOver: boolean; at: number };

/** The master now, or the one that a hand-over under way brings until `holdUntil`. */
async function nextMaster(
  membership: Membership,
  refused: Refusal | null,
  holdUntil: number,
): Promise<SeenNode | null> {
  const usable = () => {
    const master = membership.master();
    if (!master || master.isHandingOver) return null;
    return refused && stillRefuses(master, refused) ? null : master;
  };
  if (!usable() && (refused !== null || membership.isHandOverUnderWay())) {
    await membership.waitUntil(() => usable() !== null, holdUntil - performance.now());
  }
  return usable();
}

/** A giver whose hand-over came to nothing takes writes again, as its later heartbeats say. */
function stillRefuses(master: SeenNode, refused: Refusal): boolean {
  if (master.instance !== refused.by.instance) return false;
  return refused.isHandingOver ? master.seenAt <= refused.at : master.epoch === refused.by.epoch;
}

async function requestMaster(
  options: { link: NatsLink; sealer: Sealer },
  master: SeenNode,
  command: Command,
): Promise<MasterReply | { kind: 'gone' }> {
  const subject = commandSubject(master.instance);
  const sealed = options.sealer.seal(Buffer.from(JSON.stringify(command)), `command|${subject}`);
  try {
    const reply = await options.link.request(subject, sealed, { timeoutMs: command.remainingMs });
    const opened = options.sealer.open(reply.data, `reply|${command.commandId}`);
    return JSON.parse(Buffer.from(opened).toString()) as MasterReply;
  } catch (error) {
    return { kind: error instanceof NoResponderError ? 'gone' : 'unknown' };
  }
}

/** Commands waiting in the master's agent beyond this are refused as `busy`. */
const MAX_WAITING = 512;

/** Listens for commands sent to this process. `handle` must answer within the command's remaining time. */
export function serveCommands(options: {
  link: NatsLink;
  sealer: Sealer;
  instance: string;
  handle(command: Command): Promise<MasterReply>;
}): void {
  const subject = commandSubject(options.instance);
  let waiting = 0;
  options.link.whenFirstConnected((connection) => {
    connection.subscribe(subject, {
      callback: (error, message) => {
        if (error) return;
        const command = openCommand(options.sealer, message.data, subject);
        if (!command) return;
        const respond = (reply: MasterReply) => {
          const body = Buffer.from(JSON.stringify(reply));
          message.respond(options.sealer.seal(body, `reply|${command.commandId}`));
        };
        if (waiting >= MAX_WAITING) {
          respond({
            kind: 'refused',
            status: 503,
            code: 'busy',
            detail: 'too many writes waiting',
          });
          return;
        }
        waiting += 1;
        options
          .handle(command)
          .then(respond, () => respond({ kind: 'unknown' }))
          .finally(() => {
            waiting -= 1;
          })
          .catch(() => undefined);
      },
    });
  });
}

function openCommand(sealer: Sealer, data: Uint8Array, subject: string): Command | null {
  try {
    return JSON.parse(Buffer.from(sealer.open(data, `command|${subject}`)).toString()) as Command;
  } catch {
    return null;
  }
}
