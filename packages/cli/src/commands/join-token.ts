import { escapeUntrusted } from '@countersign/verification';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { formatLocalTime } from '../format-time.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

const PATH = '/api/v1/cluster/join-tokens';

type JoinToken = { id: string; role: string; expiresAt: string; isUsed: boolean };

export function addJoinTokenCommands(program: Command): void {
  const token = program
    .command('join-token')
    .description('tokens with which machines join the cluster');
  createToken(token);
  listTokens(token);
  revokeToken(token);
}

function createToken(token: Command): void {
  token
    .command('create')
    .description('print a new join token, only this once: it lets one machine in')
    .addOption(
      new Option('--ttl <time>', 'how long it is good, such as 30m or 2h')
        .argParser(parseLife)
        .default(600, '10m'),
    )
    .option('--witness', 'for a witness, which gets no cluster key')
    .action(async (options: { ttl: number; witness?: boolean }, command: Command) => {
      const session = openSession(command);
      const body = { role: options.witness ? 'witness' : 'node', lifeSeconds: options.ttl };
      const reply = await session.call({ method: 'POST', path: PATH, body });
      const { id, role, expiresAt, token: text } = reply as JoinToken & { token: string | null };
      const until = formatLocalTime(Date.parse(expiresAt));
      printWrite(session, reply, `made join token ${id} for a ${role}, good until ${until}`);
      if (!session.json && text !== null) printLines([escapeUntrusted(text)]);
    });
}

function listTokens(token: Command): void {
  token
    .command('list')
    .description('which there are, and whether they are used')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: PATH });
      if (session.json) return printJson(reply);
      const { joinTokens } = reply as { joinTokens: JoinToken[] };
      const rows = joinTokens.map((each) => [each.id, each.role, stateOf(each, Date.now())]);
      printTable(['ID', 'FOR A', 'STATE'], rows);
    });
}

function revokeToken(token: Command): void {
  token
    .command('revoke')
    .description('it lets nobody in any more; who has joined stays')
    .argument('<id>', 'as in join-token list')
    .action(async (id: string, _options, command: Command) => {
      const session = openSession(command);
      const path = `${PATH}/${encodeURIComponent(id)}`;
      const reply = await session.call({ method: 'DELETE', path });
      printWrite(session, reply, `revoked ${id}`);
    });
}

function stateOf({ expiresAt, isUsed }: JoinToken, nowMs: number): string {
  if (isUsed) return 'used';
  const untilMs = Date.parse(expiresAt);
  return `${untilMs > nowMs ? 'good until' : 'expired'} ${formatLocalTime(untilMs)}`;
}

const SECONDS = { s: 1, m: 60, h: 3600 };

function parseLife(text: string): number {
  const [, count, unit] = /^(\d{1,5})([smh])$/.exec(text) ?? [];
  const seconds = Number(count) * (SECONDS[unit as 's' | 'm' | 'h'] ?? Number.NaN);
  if (seconds >= 60 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('It must be 60s to 24h, such as 10m.');
}
