import type { Command } from 'commander';
import { formatLocalTime } from '../format-time.ts';
import { printJson, printTable } from '../print.ts';
import { printStop } from '../print-write.ts';
import { openSession } from '../session.ts';

type ApiKey = {
  id: string;
  name: string;
  scopes: string[];
  applications: string[] | null;
  networks: string[] | null;
  expiresAt: string | null;
  createdAt: string;
  revoked: boolean;
};

const PATH = '/api/v1/api-keys';

export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('list and revoke API keys');
  listKeys(key);
  revokeKey(key);
}

function listKeys(key: Command): void {
  key.command('list').action(async (_options, command: Command) => {
    const session = openSession(command);
    const reply = await session.call({ method: 'GET', path: PATH });
    if (session.json) return printJson(reply);
    const { apiKeys } = reply as { apiKeys: ApiKey[] };
    const rows = apiKeys.map((each) => [
      each.id,
      each.name,
      each.revoked ? 'revoked' : stateOf(each, Date.now()),
      each.scopes.join(' '),
      each.applications?.join(', ') ?? 'all',
      each.networks?.join(', ') ?? 'all',
    ]);
    printTable(['ID', 'NAME', 'STATE', 'SCOPES', 'APPLICATIONS', 'NETWORKS'], rows);
  });
}

function revokeKey(key: Command): void {
  key
    .command('revoke')
    .description('for good; works without a master too')
    .argument('<id>', 'as in key list')
    .option('--yes', 'even if it is the last key with every right')
    .action(async (id: string, options: { yes?: boolean }, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({
        method: 'DELETE',
        path: `${PATH}/${encodeURIComponent(id)}`,
        query: { evenLast: String(options.yes ?? false) },
      });
      printStop(session, reply, `revoked ${id}`);
    });
}

function stateOf({ expiresAt }: ApiKey, nowMs: number): string {
  if (expiresAt === null) return 'valid';
  const untilMs = Date.parse(expiresAt);
  return `${untilMs > nowMs ? 'until' : 'expired'} ${formatLocalTime(untilMs)}`;
}
