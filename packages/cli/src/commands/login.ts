import type { Command } from 'commander';
import { callApi } from '../call-api.ts';
import { CliError } from '../cli-error.ts';
import { findSignIn, type ConnectionOptions } from '../find-servers.ts';
import { formatLocalTime } from '../format-time.ts';
import { printJson, printLines } from '../print.ts';
import { readInputLine, readPassword } from '../read-input.ts';
import { openSession } from '../session.ts';
import { forgetSession, readSession, saveSession, type SavedSession } from '../session-file.ts';

const PATH = '/api/v1/sessions';

type Reply = Pick<SavedSession, 'token' | 'username' | 'expiresAt' | 'freshUntil'>;
type Who = {
  name: string;
  scopes: string[];
  session: { expiresAt: string; secondFactorAt: string } | null;
};

/** Signing in and out as an administrator. Secrets come from the terminal, stdin or the environment. */
export function addLoginCommands(program: Command): void {
  program
    .command('login')
    .description('sign in as an administrator; password and code are asked for, or read from stdin')
    .argument('<name>')
    .action(async (name: string, _options: object, command: Command) => {
      const options = command.optsWithGlobals<ConnectionOptions & { json?: boolean }>();
      const connection = findSignIn(options, process.env, process.cwd());
      const password = process.env.COUNTERSIGN_PASSWORD ?? (await readPassword());
      const code = await readCode();
      const reply = (await callApi(connection, {
        method: 'POST',
        path: PATH,
        body: { username: name, password, code },
      })) as Reply;
      const origins = connection.servers.flatMap((server) => ('url' in server ? [server.url] : []));
      keep(reply, origins);
      tell(options.json, reply, `signed in as ${reply.username}`);
    });
  program
    .command('step-up')
    .description('show a code again, for what takes a second factor of the last ten minutes')
    .action(async (_options: object, command: Command) => {
      const saved = savedSession();
      const session = openSession(command);
      const body = { code: await readCode() };
      const reply = (await session.call({
        method: 'POST',
        path: `${PATH}/current/step-up`,
        body,
      })) as Reply;
      keep(reply, saved.servers);
      tell(session.json, reply, 'the second factor is fresh');
    });
  program
    .command('logout')
    .description('end the session, here and at the cluster')
    .action(async (_options: object, command: Command) => {
      const isSaved = readSession(process.env) !== null;
      try {
        if (isSaved) {
          await openSession(command).call({ method: 'DELETE', path: `${PATH}/current` });
        }
      } finally {
        forgetSession(process.env);
      }
      printLines([isSaved ? 'signed out' : 'nobody was signed in']);
    });
  program
    .command('whoami')
    .description('who the cluster takes this command line for')
    .action(async (_options: object, command: Command) => {
      const session = openSession(command);
      const who = (await session.call({ method: 'GET', path: `${PATH}/current` })) as Who;
      if (session.json) return printJson(who);
      const until = who.session
        ? `, signed in until ${formatLocalTime(Date.parse(who.session.expiresAt))}`
        : '';
      printLines([`${who.name}${until}`, `may: ${who.scopes.join(' ')}`]);
    });
}

function savedSession(): SavedSession {
  const saved = readSession(process.env);
  if (saved) return saved;
  throw new CliError('nobody is signed in: countersign login NAME', { exitCode: 2 });
}

export async function readCode(): Promise<string> {
  return process.env.COUNTERSIGN_CODE ?? (await readInputLine('code'));
}

function keep({ token, username, expiresAt, freshUntil }: Reply, servers: string[]): void {
  saveSession(process.env, { servers, token, username, expiresAt, freshUntil });
}

/** The session itself is shown to nobody. */
function tell(json: boolean | undefined, { token: _kept, ...reply }: Reply, done: string): void {
  if (json) return printJson(reply);
  const until = formatLocalTime(Date.parse(reply.expiresAt));
  printLines([`${done}, until ${until}`]);
}
