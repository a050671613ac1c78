import type { RadiusClientView, RadiusTestReport } from '@countersign/api';
import { Option, type Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { readPassword as readPasswordFile } from '../directory/fields.ts';
import { openNodeSession, type NodeSession } from '../node-session.ts';
import { printJson, printLines } from '../print.ts';
import { radiusPath } from '../radius/write.ts';
import { readInputLine, readPassword } from '../read-input.ts';
import { withSpinner } from '../with-spinner.ts';

type TestOptions = {
  code?: string;
  passwordFile?: string;
  from?: string;
  station?: string;
  node?: string;
};

/** Above the server's own. */
const TIMEOUT_MS = 45_000;

const HELP = `
It is a real sign-in: codes are used up, and what is wrong counts. The password is asked for, or
read from a file or from stdin, unless the client checks passwords itself; a code is typed with it
as the client's people do, or answers the question. Without a terminal the answer to a question is
the next line on stdin. Exit code 0 if it is accepted.`;

export function addRadiusTestCommand(radius: Command): void {
  radius
    .command('test')
    .description('sign somebody in as a client would, and say step by step what happens')
    .argument('<client>')
    .argument('<user>')
    .option('--code <code>', 'of a token, or push, text or call')
    .option('--password-file <file>', 'that holds the password; - for stdin')
    .addOption(
      new Option('--method <protocol>', 'how the password is sent').choices(['pap']).default('pap'),
    )
    .option('--from <address>', "where it shall look to come from; default: the client's first")
    .option('--station <text>', 'what the client tells of the place, as Calling-Station-Id')
    .option('--node <name>', 'which node does it; default: the first that answers')
    .addHelpText('after', HELP)
    .action(async (client: string, username: string, options: TestOptions, command: Command) => {
      const session = await openNodeSession(command, options.node);
      const found = (await session.call({
        method: 'GET',
        path: radiusPath('clients', client),
      })) as RadiusClientView;
      const { code, from, station } = options;
      const isAsked = found.firstFactor.kind !== 'none';
      const password = isAsked ? await passwordFrom(options.passwordFile) : undefined;
      const first = await tryOnce(session, client, { username, password, code, from, station });
      if (!session.json) printLines(describeReport(first));
      const { question } = first;
      const typed = question && (await readAnswer());
      if (question && typed) {
        const answer = { id: first.id, state: question.state, code: typed };
        const last = await tryOnce(session, client, { username, answer, from, station });
        if (session.json) printJson({ ...last, steps: [...first.steps, ...last.steps] });
        else printLines(describeReport(last));
        return setExitCode(last);
      }
      if (session.json) printJson(first);
      return setExitCode(first);
    });
}

function passwordFrom(file: string | undefined): Promise<string> {
  return file === undefined || file === '-' ? readPassword() : readPasswordFile(file, 'password');
}

/** Null: nobody is there to answer. */
async function readAnswer(): Promise<string | null> {
  try {
    return await readInputLine('code');
  } catch (error) {
    if (error instanceof CliError && !process.stdin.isTTY) return null;
    throw error;
  }
}

/** Repeated by the client of the API with the same Idempotency-Key, it is the same sign-in. */
async function tryOnce(
  session: NodeSession,
  client: string,
  body: object,
): Promise<RadiusTestReport> {
  const path = `${radiusPath('clients', client)}/tests`;
  const call = session.call({ method: 'POST', path, body, timeoutMs: TIMEOUT_MS });
  return (await withSpinner('signing in', call)) as RadiusTestReport;
}

function setExitCode({ outcome }: RadiusTestReport): void {
  if (outcome !== 'accept') process.exitCode = 1;
}

function describeReport(untrusted: RadiusTestReport): string[] {
  const { node, steps, attributes, question, tookMs } = escapeAll(untrusted);
  const widest = Math.max(...steps.map(({ step }) => step.length));
  return [
    `at ${node}, in ${Math.round(tookMs)} ms:`,
    ...steps.map(({ step, ok, text, tookMs: ms }) => {
      const took = ms === null ? '' : ` (${Math.round(ms)} ms)`;
      return `  ${ok ? 'ok' : 'NO'}  ${step.padEnd(widest)}  ${text}${took}`;
    }),
    ...attributes.map(({ name, value }) => `      ${' '.repeat(widest)}  ${name} = ${value}`),
    ...(question ? [question.text] : []),
  ];
}
