import type { SignInOutcome } from '@countersign/api';
import { askAgent } from '@countersign/cluster';
import { ROLES } from '@countersign/verification';
import { z } from 'zod';
import type { CommandPath } from './send-command.ts';

export type SignInPath = Pick<CommandPath, 'link' | 'sealer' | 'node'>;

/** Above what the agent takes for some lost compare-and-sets. */
const ANSWER_TIMEOUT_MS = 6_000;

const signedIn = z.object({
  token: z.string(),
  username: z.string(),
  roles: z.array(z.enum(ROLES)),
  expiresAt: z.string(),
  freshUntil: z.string(),
});

/** Has the node's own agent judge what somebody typed: it alone can make a session. */
export async function askSignIn(
  path: SignInPath,
  verb: 'sign-in' | 'step-up' | 'renew-session',
  typed: Record<string, string>,
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<SignInOutcome> {
  const answer = await askAgent(path, path.node, verb, typed, timeoutMs);
  if (!answer) return { kind: 'not_ready', detail: `The agent of ${path.node} is not there.` };
  const { ok, code, detail } = answer;
  if (ok) return { kind: 'signed_in', ...signedIn.parse(answer.result) };
  if (code === 'denied') return { kind: 'denied' };
  return { kind: 'not_ready', detail: detail ?? `${path.node} cannot sign anybody in now.` };
}
