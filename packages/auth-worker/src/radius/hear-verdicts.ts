import type { JudgedSignIn } from './describe-seen.ts';
import type { AccessPorts } from './handle-access-request.ts';

export type JudgePorts = Pick<AccessPorts, 'verify' | 'awaitAnswer' | 'refuse'>;

/** Judges as these do, and tells what was judged and what came of it; of several, in their order. */
export function hearVerdicts(
  { verify, awaitAnswer, refuse }: JudgePorts,
  hear: (judged: JudgedSignIn) => void,
): JudgePorts {
  return {
    async verify(attempt) {
      const outcome = await verify(attempt);
      hear({ kind: 'verified', attempt, outcome });
      return outcome;
    },
    async awaitAnswer(attempt, asked, options) {
      const outcome = await awaitAnswer(attempt, asked, options);
      hear({ kind: 'verified', attempt, outcome });
      return outcome;
    },
    refuse(attempt, reason) {
      hear({ kind: 'refused', attempt, reason });
      return refuse(attempt, reason);
    },
  };
}
