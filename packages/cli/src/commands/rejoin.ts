import type { RejoinReport } from '@countersign/api';
import type { Command } from 'commander';
import { confirmByTyping } from '../confirm.ts';
import { escapeAll } from '../escape-all.ts';
import { openLocalSession } from '../local-session.ts';
import { printJson, printLines, printTable } from '../print.ts';

const PATH = '/api/v1/node/rejoin';
const SURVEY_TIMEOUT_MS = 10_000;

export function addRejoinCommand(program: Command): void {
  program
    .command('rejoin')
    .description("give up what only this node has, and follow the cluster's log again")
    .argument('[node]', 'its name, where there are several on this machine')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only show what would be given up')
    .option('--socket <path>', 'administration socket of the node')
    .action(
      async (
        name: string | undefined,
        options: { yes?: boolean; dryRun?: boolean },
        command: Command,
      ) => {
        const session = openLocalSession(command, name);
        const seen = await session.call({
          method: 'GET',
          path: PATH,
          timeoutMs: SURVEY_TIMEOUT_MS,
        });
        const report = seen as RejoinReport;
        if (session.json && options.dryRun) return printJson(report);
        if (!session.json) show(report);
        if (options.dryRun) return;
        const { node } = escapeAll(report);
        if (!options.yes) await confirmByTyping(node, 'These changes leave the cluster.');
        const body = { token: report.token };
        const reply = (await session.call({ method: 'POST', path: PATH, body })) as {
          file: string;
        };
        if (session.json) return printJson({ ...report, ...reply });
        printLines([
          `what was given up is kept in ${reply.file}`,
          `${node} fills up from there now`,
        ]);
      },
    );
}

function show(untrusted: RejoinReport): void {
  const { node, incarnation, revision, to, drops } = escapeAll(untrusted);
  printLines([
    `${node} lives in incarnation ${incarnation} at revision ${revision}`,
    `it would follow ${to.node}: incarnation ${to.incarnation}, revision ${to.revision}, master ${to.master ?? 'none'}`,
    drops.length === 0 ? 'nothing would be given up' : `given up: ${drops.length} changes`,
  ]);
  if (drops.length === 0) return;
  printTable(
    ['REVISION', 'WHAT', 'NAME', 'AT', 'BY'],
    drops.map((drop) => [
      String(drop.revision),
      drop.removed ? `${drop.kind} removed` : drop.kind,
      drop.name,
      drop.at,
      drop.actor,
    ]),
  );
}
