import type { NodeExamination } from '@countersign/api';
import { critical, explain, quote, type Finding } from '@countersign/doctor/finding';

/** Looks at this machine by a node's configuration, whether the node runs or not; asks no API for more than that. */
export async function examineHere(configFile: string): Promise<NodeExamination> {
  const whole = { finished: true, documents: 0 };
  // Loaded only here: it brings in everything a node runs.
  const { isSupervised, readExaminedNode } = await import('@countersign/node');
  const { examineMachine, examineWitness, isNodeRunning, isWitness } =
    await import('@countersign/doctor');
  let node;
  try {
    node = await readExaminedNode(configFile);
  } catch (error) {
    const fix = `correct that in the file (every key stands in deploy/countersign.yaml), then again: countersign doctor --config ${quote(configFile)}`;
    const checks: Finding[] = [critical('config', explain(error), fix)];
    return { ...whole, node: configFile, checks };
  }
  if (isWitness(node)) {
    const isThere = await isSupervised(node.dataDirectory);
    const found = await examineWitness(node, { isRunning: isThere });
    return { ...whole, node: node.name, checks: found };
  }
  const isRunning = await isNodeRunning(node);
  const checks = await examineMachine(node, { isRunning, logServers: node.logServers });
  return { ...whole, node: node.name, checks };
}
