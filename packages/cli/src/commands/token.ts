import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { escapeUntrusted } from '@countersign/verification';
import { Option, type Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { printJson, printLines } from '../print.ts';
import { readSecret } from '../read-input.ts';
import { openSession } from '../session.ts';
import { sendTokens, type TokenReply, type TokenRequest } from '../import/send-tokens.ts';
import { splitCsv } from '../import/split-csv.ts';

type Format = 'csv' | 'pskc' | 'otpauth';
type Options = {
  format?: Format;
  errors?: string;
  user?: string;
  password?: boolean;
  keyFile?: string;
  activated?: boolean;
};

const PER_REQUEST = 200;
const FILE_MAX_BYTES = 20 * 1024 * 1024;
const KEY_MAX_BYTES = 1024;

const HELP = `
A CSV file has a header with upn, serial number, secret key, time interval, manufacturer and model.
A PSKC file (RFC 6030) may be encrypted under a password or a key; it holds at most 200 tokens.
An otpauth file has one otpauth:// address a line. Tokens verify nobody before their user gives a
code of them: countersign authenticator activate USER ID CODE.`;

export function addTokenCommands(program: Command): void {
  const token = program.command('token').description('import OATH tokens from files');
  token
    .command('import')
    .description('enrol the tokens of a file, each by itself')
    .argument('<file>')
    .addOption(
      new Option('--format <format>', 'if the file does not say it').choices([
        'csv',
        'pskc',
        'otpauth',
      ]),
    )
    .option('--errors <file>', 'write those that were refused there, with masked secrets')
    .option('--user <username>', 'whose the tokens are that name no user')
    .option('--password', 'ask for the password of a PSKC file, or read it from stdin')
    .option('--key-file <file>', 'that holds the key of a PSKC file, in hex')
    .option('--activated', 'they verify at once, without a first code')
    .addHelpText('after', HELP)
    .action(async (file: string, options: Options, command: Command) => {
      const text = readFile(file, FILE_MAX_BYTES);
      const format = options.format ?? formatOf(file, text);
      const requests = await requestsOf(text, format, options);
      const session = openSession(command);
      const replies: TokenReply[] = [];
      for (const request of requests) {
        try {
          replies.push(await sendTokens(session, request));
        } catch (error) {
          // What was done before is told all the same.
          if (replies.length > 0) tell(replies, options, session.json);
          throw error;
        }
      }
      tell(replies, options, session.json);
    });
}

async function requestsOf(text: string, format: Format, options: Options): Promise<TokenRequest[]> {
  const { user: username, activated = false, keyFile } = options;
  const common = { format, username, awaitsActivation: !activated };
  if (format === 'csv') {
    return splitCsv(text, PER_REQUEST).map(({ text: content, linesBefore }) => {
      return { ...common, content, linesBefore };
    });
  }
  if (format === 'otpauth') {
    const lines = text.split('\n');
    const count = Math.ceil(lines.length / PER_REQUEST);
    return Array.from({ length: count }, (_, part) => {
      const linesBefore = part * PER_REQUEST;
      const content = lines.slice(linesBefore, linesBefore + PER_REQUEST).join('\n');
      return { ...common, content, linesBefore };
    }).filter(({ content }) => content.trim() !== '');
  }
  const password = options.password ? await readSecret('password of the file') : undefined;
  const key = keyFile === undefined ? undefined : readFile(keyFile, KEY_MAX_BYTES).trim();
  return [{ ...common, content: text, password, key }];
}

function tell(replies: TokenReply[], options: Options, isJson: boolean): void {
  const results = replies.flatMap((reply) => reply.results);
  const refused = results.filter(({ status }) => status !== 201);
  const errorCsv = joinCsv(replies.flatMap((reply) => reply.errorCsv ?? []));
  const isWritten = options.errors !== undefined && errorCsv !== '';
  // The rows name people and what their tokens are called.
  if (isWritten) writeFileSync(options.errors!, errorCsv, { mode: 0o600 });
  const notes = [...new Set(replies.flatMap((reply) => reply.notes))];
  if (isJson) printJson({ results, errorCsv, notes });
  else {
    for (const { at, detail = 'refused', code } of refused) {
      process.stderr.write(`${at}: ${escapeUntrusted(detail, 500)} (${code})\n`);
    }
    for (const note of notes) process.stderr.write(`note: ${escapeUntrusted(note, 500)}\n`);
    const where = isWritten ? `; the refused are in ${options.errors}` : '';
    const enrolled = results.length - refused.length;
    printLines([escapeUntrusted(`${enrolled} enrolled, ${refused.length} refused${where}`, 500)]);
  }
  if (refused.length > 0) process.exitCode = 1;
}

/** One header is enough. */
function joinCsv(files: string[]): string {
  return files
    .map((file, index) => (index === 0 ? file : file.slice(file.indexOf('\r\n') + 2)))
    .join('');
}

function formatOf(file: string, text: string): Format {
  if (/\.csv$/i.test(file)) return 'csv';
  if (/\.(pskc|xml)$/i.test(file)) return 'pskc';
  if (/^\s*otpauth:\/\//i.test(text)) return 'otpauth';
  throw new CliError('say --format csv, pskc or otpauth', { exitCode: 2 });
}

function readFile(file: string, maxBytes: number): string {
  try {
    if (statSync(file).size > maxBytes) throw new CliError(`${file} is too large`);
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError(`cannot read ${file} (${(cause as { code?: string }).code})`, { cause });
  }
}
