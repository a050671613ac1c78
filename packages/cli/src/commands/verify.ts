import { METHODS } from '@countersign/verification';
import { Option, type Command } from 'commander';
import { escapeAll } from '../escape-all.ts';
import { printJson, printTable } from '../print.ts';
import { readInputLine, readPassword, readSecret } from '../read-input.ts';
import { openSession, type Session } from '../session.ts';
import { withSpinner } from '../with-spinner.ts';

type VerifyOptions = {
  application?: string;
  clientIp?: string;
  method?: string;
  password?: true;
  pin?: true;
};
type Reply = {
  id: string;
  status: string;
  reason?: string;
  skipped?: string;
  challenge?: string;
  method?: string;
  asks?: string[];
  sentTo?: string;
  degraded: boolean;
};

const PATH = '/api/v1/verifications';

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('verify a user: exit code 0 if approved, 1 if denied')
    .argument('<username>')
    .argument('[code]', 'of a token; without it the user is asked as the settings say')
    .addOption(new Option('--method <method>', 'how the user is asked').choices(METHODS))
    .option('--password', "ask for the password first, for the user's directory to check")
    .option('--pin', 'ask for the PIN that goes with the code')
    .option('--application <name>', 'for which application')
    .option('--client-ip <address>', "the end user's address, if the key may assert one")
    .addHelpText(
      'after',
      '\nWithout a terminal the password, the code and the PIN are lines on stdin, in this order.' +
        '\nA code on stdin is tried at once unless --method says how to ask for one.',
    )
    .action(
      async (
        username: string,
        code: string | undefined,
        options: VerifyOptions,
        command: Command,
      ) => {
        const session = openSession(command);
        const reply = await verify(session, username, code, options);
        if (session.json) printJson(reply);
        else printTable([describeVerdict(reply)], []);
        if (reply.status !== 'approved') process.exitCode = 1;
      },
    );
}

async function verify(
  session: Session,
  username: string,
  given: string | undefined,
  { pin: withPin, password: withPassword, ...options }: VerifyOptions,
): Promise<Reply> {
  const password = withPassword && (await readPassword());
  const isAsked = options.method !== undefined || process.stdin.isTTY;
  const code = given ?? (isAsked ? undefined : await readInputLine('code'));
  const pin = withPin && code !== undefined ? await readSecret('PIN') : undefined;
  const body = { username, ...options, password, code, pin };
  const first = (await withSpinner(
    'waiting for the cluster',
    session.call({ method: 'POST', path: PATH, body, timeoutMs: 20_000 }),
  )) as Reply;
  if (first.status !== 'challenge') return first;
  process.stderr.write(`${describeQuestion(first)}\n`);
  const answer = {
    challenge: first.challenge,
    code: await readInputLine('code'),
    pin: first.asks?.includes('pin') ? await readSecret('PIN') : undefined,
    application: options.application,
    clientIp: options.clientIp,
  };
  const path = `${PATH}/${encodeURIComponent(first.id)}/answer`;
  return (await withSpinner(
    'verifying',
    session.call({ method: 'POST', path, body: answer }),
  )) as Reply;
}

function describeQuestion(untrusted: Reply): string {
  const { method, sentTo, asks } = escapeAll(untrusted);
  const where = sentTo ? `a code was sent to ${sentTo}` : `type the code of the ${method} token`;
  return asks?.includes('pin') ? `${where}; the PIN comes after it` : where;
}

function describeVerdict({ status, reason, skipped, degraded }: Reply): string {
  const why = reason ?? (skipped && `nothing was asked (${skipped})`);
  const because = why === undefined ? '' : `: ${why}`;
  return `${status}${because}${degraded ? ' (degraded: without the quorum)' : ''}`;
}
