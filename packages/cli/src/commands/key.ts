import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { formatLocalTime } from '../format-time.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printStop, printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
import { collect } from '../setting-arguments.ts';

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
  const key = program.command('apikey').alias('key').description('add, list and revoke API keys');
  addKey(key);
  listKeys(key);
  revokeKey(key);
}

function addKey(key: Command): void {
  key
    .command('add')
    .description(
      'print a new API key, only this once; it can do no more than the one it is made with',
    )
    .argument('<name>', 'who it is for')
    .requiredOption('--scope <scope>', 'what it may do; repeat for several', collect)
    .option('--application <name>', 'only for this application; repeat for several', collect)
    .option('--network <range>', 'only from there, like 192.0.2.0/24; repeat for several', collect)
    .option('--days <n>', 'expires then; otherwise never', parseCount)
    .action(async (name: string, options: AddOptions, command: Command) => {
      const session = openSession(command);
      const { scope, application, network, days } = options;
      const expiresAt =
        days === undefined ? undefined : new Date(Date.now() + days * 86_400_000).toISOString();
      const body = {
        name,
        scopes: scope,
        applications: application,
        networks: network,
        expiresAt,
      };
      const reply = await session.call({ method: 'POST', path: PATH, body });
      const { id, key: secret } = reply as { id: string; key: string | null };
      printWrite(session, reply, `added API key ${id} for ${name}`);
      if (!session.json && secret !== null) printLines([escapeUntrusted(secret)]);
    });
}

type AddOptions = { scope: string[]; application?: string[]; network?: string[]; days?: number };

function listKeys(key: Command): void {
  key
    .command('list')
    .description('all of them, and what they may do')
    .action(async (_options, command: Command) => {
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
    .argument('<id>', 'as in apikey list')
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
