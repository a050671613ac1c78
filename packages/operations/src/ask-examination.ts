import { ProblemError, type NodeExamination } from '@countersign/api';
import { askAgent } from '@countersign/cluster';
import type { CommandPath } from './send-command.ts';

/** Above what an agent takes for its answer. */
const ANSWER_TIMEOUT_MS = 15_000;

/**
 * Has a node's agent look at that node.
 * @throws ProblemError if it does not answer
 */
export async function askExamination(
  path: Pick<CommandPath, 'link' | 'sealer'>,
  node: string,
): Promise<NodeExamination> {
  const answer = await askAgent(path, node, 'examine', {}, ANSWER_TIMEOUT_MS);
  if (!answer) throw new ProblemError(503, 'node_offline', `The agent of ${node} is not there.`);
  if (!answer.ok) {
    throw new ProblemError(503, answer.code ?? 'failed', answer.detail ?? `${node} failed`);
  }
  return answer.result as NodeExamination;
}
