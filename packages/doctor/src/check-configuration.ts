import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ExaminedNode } from './examined-node.ts';
import { fine, quote, warning, type Finding } from './finding.ts';

/** Whether a node runs by what its configuration says now. */
export async function checkConfiguration({ file }: Pick<ExaminedNode, 'file'>): Promise<Finding[]> {
  const text = await readFile(file.path, 'utf8');
  const sha256 = createHash('sha256').update(text).digest('hex');
  if (sha256 === file.sha256) return [fine('config', `${file.path} is what this node runs by`)];
  return [
    warning(
      'config',
      `${file.path} has changed since this node started`,
      `countersign doctor --config ${quote(file.path)} checks it; systemctl restart countersign brings it into force`,
    ),
  ];
}
