import type { NodeExamination } from '@countersign/api';
import { critical, explain, fine, warning, type Finding } from '@countersign/doctor/finding';
import type { TablesWatch } from './tables-watch.ts';

/** What stands in the tables against what was received. */
export async function checkTables(
  node: string,
  tables: TablesWatch,
): Promise<Pick<NodeExamination, 'documents' | 'checks'>> {
  const name = 'tables';
  try {
    const { revision, documents, problems, problemCount } = await tables.examine();
    const fix = `take ${node} out of the load balancer and refill it: docs/failover.md, "A node's data differ"`;
    const checks: Finding[] = problems.map((detail) => critical(name, detail, fix));
    const unnamed = problemCount - problems.length;
    if (unnamed > 0) checks.push(critical(name, `and ${unnamed} more`, fix));
    const detail = `${documents} documents are what was received, give the digest of revision ${revision}, and are what is queried`;
    return { documents, checks: checks.length > 0 ? checks : [fine(name, detail)] };
  } catch (error) {
    const detail = `could not be examined: ${explain(error)}`;
    return { documents: 0, checks: [warning(name, detail, 'tail -n 50 logs/agent.log')] };
  }
}
