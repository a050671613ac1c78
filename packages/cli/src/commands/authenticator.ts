import { escapeUntrusted } from '@countersign/verification';
import { Option } from 'commander';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { AUTHENTICATOR_HEADINGS, describeAuthenticator } from '../describe-user.ts';
import type { Authenticator } from '../describe-user.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { readInputLine, readSecret } from '../read-input.ts';
import { openSession } from '../session.ts';
import { userPath } from './user-path.ts';

type EnrollOptions = {
  type: string;
  name?: string;
  algorithm?: string;
  digits?: number;
  period?: number;
  initialCounter?: number;
  secretStdin?: boolean;
  serial?: string;
  manufacturer?: string;
  model?: string;
  number?: string;
  extension?: string;
  use?: string;
  code?: string;
};

export function addAuthenticatorCommands(program: Command): void {
  const authenticator = program
    .command('authenticator')
    .description("enrol, list and remove a user's authenticators");
  enrollAuthenticator(authenticator);
  listAuthenticators(authenticator);
  activateAuthenticator(authenticator);
  resynchroniseAuthenticator(authenticator);
  removeAuthenticator(authenticator);
}

function enrollAuthenticator(authenticator: Command): void {
  authenticator
    .command('enroll')
    .description(
      'register an OATH token or app, and print its otpauth address only this once, or a phone',
    )
    .argument('<username>')
    .addOption(new Option('--type <type>').choices(['totp', 'hotp', 'phone']).default('totp'))
    .option('--name <text>', 'what the user calls it')
    .addOption(new Option('--algorithm <name>').choices(['SHA1', 'SHA256', 'SHA512']))
    .option('--digits <n>', '6 to 8', parseCount)
    .option('--period <seconds>', '30 or 60, totp only', parseCount)
    .option('--initial-counter <n>', 'hotp only', parseCount)
    .option('--secret-stdin', 'read the base32 secret of a token from stdin')
    .option('--serial <text>', 'of a token; no two have the same')
    .option('--manufacturer <text>', 'of a token')
    .option('--model <text>', 'of a token')
    .option('--number <number>', 'of a phone, in full: +31612345678')
    .option('--extension <digits>', 'of a phone')
    .addOption(new Option('--use <use>', 'of a phone').choices(['primary', 'backup']))
    .option(
      '--code <code>',
      "the user's enrolment code, spent by this; - asks for it or reads stdin",
    )
    .action(async (username: string, options: EnrollOptions, command: Command) => {
      const session = openSession(command);
      const body = {
        type: options.type,
        name: options.name,
        algorithm: options.algorithm,
        digits: options.digits,
        periodSeconds: options.period,
        initialCounter: options.initialCounter,
        serial: options.serial,
        manufacturer: options.manufacturer,
        model: options.model,
        number: options.number,
        extension: options.extension,
        use: options.use,
        secret: options.secretStdin ? await readInputLine('secret') : undefined,
      };
      const reply = await session.call(
        options.code === undefined
          ? { method: 'POST', path: userPath(username, '/authenticators'), body }
          : {
              method: 'POST',
              path: '/api/v1/enrolments',
              body: { ...body, username, enrolmentCode: await codeOf(options) },
            },
      );
      const { id, otpauth } = reply as { id: string; otpauth: string | null };
      printWrite(session, reply, `enrolled authenticator ${id} of ${username}`);
      if (!session.json && otpauth !== null) printLines([escapeUntrusted(otpauth, 2_000)]);
    });
}

async function codeOf({ code, secretStdin }: EnrollOptions): Promise<string> {
  if (code !== '-') return code!;
  if (!secretStdin) return readSecret('enrolment code');
  throw new CliError('only one of --code - and --secret-stdin can read stdin', { exitCode: 2 });
}

function listAuthenticators(authenticator: Command): void {
  authenticator
    .command('list')
    .description('what a user has')
    .argument('<username>')
    .action(async (username: string, _options, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, '/authenticators');
      const reply = await session.call({ method: 'GET', path });
      if (session.json) return printJson(reply);
      const { authenticators } = reply as { authenticators: Authenticator[] };
      printTable(AUTHENTICATOR_HEADINGS, authenticators.map(describeAuthenticator));
    });
}

function activateAuthenticator(authenticator: Command): void {
  authenticator
    .command('activate')
    .description('let an imported token verify its user, by a code that it shows now')
    .argument('<username>')
    .argument('<id>')
    .argument('[code]', 'read from stdin if not given')
    .action(async (username: string, id: string, given: string | undefined, ...rest) => {
      const session = openSession(rest[1] as Command);
      const body = { code: given ?? (await readInputLine('code')) };
      const path = userPath(username, `/authenticators/${encodeURIComponent(id)}/activate`);
      const reply = await session.call({ method: 'POST', path, body });
      printWrite(session, reply, `activated authenticator ${id} of ${username}`);
    });
}

function resynchroniseAuthenticator(authenticator: Command): void {
  authenticator
    .command('resynchronise')
    .description('find the counter of a hotp token again, by two or three codes in a row')
    .argument('<username>')
    .argument('<id>')
    .argument(
      '[codes...]',
      'in the order they were shown; read from one line of stdin if not given',
    )
    .action(async (username: string, id: string, given: string[], ...rest) => {
      const session = openSession(rest[1] as Command);
      const codes = given.length > 0 ? given : (await readInputLine('codes')).split(/[\s,]+/);
      const path = userPath(username, `/authenticators/${encodeURIComponent(id)}/resynchronise`);
      const reply = await session.call({ method: 'POST', path, body: { codes } });
      printWrite(session, reply, `resynchronised authenticator ${id} of ${username}`);
    });
}

function removeAuthenticator(authenticator: Command): void {
  authenticator
    .command('remove')
    .description('for good; the user signs in with it no more')
    .argument('<username>')
    .argument('<id>')
    .action(async (username: string, id: string, _options, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, `/authenticators/${encodeURIComponent(id)}`);
      const reply = await session.call({ method: 'DELETE', path });
      printWrite(session, reply, `removed authenticator ${id} of ${username}`);
    });
}
