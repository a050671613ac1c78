import type { Command } from 'commander';
import { printJson, printTable } from '../print.ts';
import { readInputLine } from '../read-input.ts';
import { openSession } from '../session.ts';

type VerifyOptions = { application?: string; clientIp?: string };
type Reply = { status: string; reason?: string; degraded: boolean };

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('verify a code of a user: exit code 0 if approved, 1 if denied')
    .argument('<username>')
    .argument('[code]', 'read from stdin if not given')
    .option('--application <name>', 'for which application')
    .option('--client-ip <address>', "the end user's address, if the key may assert one")
    .action(
      async (
        username: string,
        code: string | undefined,
        options: VerifyOptions,
        command: Command,
      ) => {
        const session = openSession(command);
        const body = { username, code: code ?? (await readInputLine('code')), ...options };
        const path = '/api/v1/verifications';
        const reply = (await session.call({ method: 'POST', path, body })) as Reply;
        if (session.json) printJson(reply);
        else printTable([describeVerdict(reply)], []);
        if (reply.status !== 'approved') process.exitCode = 1;
      },
    );
}

function describeVerdict({ status, reason, degraded }: Reply): string {
  const because = reason === undefined ? '' : `: ${reason}`;
  return `${status}${because}${degraded ? ' (degraded: without the quorum)' : ''}`;
}
