import { createReadStream, statSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { escapeUntrusted } from '@countersign/verification';
import { CliError } from '../cli-error.ts';
import { escapeJson, printJson, printLines } from '../print.ts';
import { openSession } from '../session.ts';
import { CsvError } from '../import/read-csv.ts';
import { readUsers, type ImportFormat } from '../import/read-users.ts';
import { Progress } from '../import/progress.ts';
import { sendUsers, type Sendable, type SentUser } from '../import/send-users.ts';

type Options = { format?: ImportFormat; dryRun?: boolean };

const HELP = `
FILE is CSV with a header or one JSON object a line; - reads from stdin. Columns of a CSV file:
  username, displayName, email, enabled, and for a token
  type (totp or hotp), secret (base32), name, algorithm, digits, periodSeconds, initialCounter
Users that exist already are left as they are, so the same file can be imported again.`;

export function importUsers(user: Command): void {
  user
    .command('import')
    .description('add many users from a file')
    .argument('<file>')
    .addOption(
      new Option('--format <format>', 'if the name does not say it').choices(['csv', 'ndjson']),
    )
    .option('--dry-run', 'check the file, send nothing')
    .addHelpText('after', HELP)
    .action(async (file: string, options: Options, command: Command) => {
      const isJson = command.optsWithGlobals<{ json?: boolean }>().json ?? false;
      const input = openInput(file);
      const progress = new Progress(process.stderr, input.sizeBytes);
      const counts = { added: 0, existing: 0, failed: 0 };
      const fail = (line: number, why: string) => {
        counts.failed += 1;
        progress.clear();
        process.stderr.write(`line ${line}: ${escapeUntrusted(why, 500)}\n`);
      };
      const note = (sent: SentUser[]) => {
        for (const each of sent) {
          if (each.status === 201) counts.added += 1;
          else if (each.code === 'username_taken') counts.existing += 1;
          else fail(each.line, `${each.detail ?? 'refused'} (${each.code ?? each.status})`);
          if (isJson) printResult(each);
        }
        progress.show(input.readBytes(), counts.added + counts.existing + counts.failed);
      };
      async function* sendable(): AsyncGenerator<Sendable> {
        const format = options.format ?? formatOf(file);
        for await (const read of readUsers(input.text(), format, { mayMakeSecrets: isJson })) {
          if ('user' in read) yield read;
          else fail(read.line, read.problem);
        }
      }
      try {
        if (options.dryRun) counts.added = await countOf(sendable());
        else await sendUsers(openSession(command), sendable(), note);
      } catch (error) {
        progress.clear();
        const said = error instanceof CsvError ? new CliError(error.message) : error;
        if (counts.added + counts.existing > 0) process.stderr.write(`${sum(counts, options)}\n`);
        throw said;
      }
      progress.clear();
      if (!isJson) printLines([sum(counts, options)]);
      else if (options.dryRun) printJson({ dryRun: true, ...counts });
      if (counts.failed > 0) process.exitCode = 1;
    });
}

function sum(
  counts: { added: number; existing: number; failed: number },
  options: Options,
): string {
  const { added, existing, failed } = counts;
  if (options.dryRun)
    return `${added} users would be sent, ${failed} lines cannot be (nothing was sent)`;
  return `${added} added, ${existing} existed already, ${failed} failed`;
}

async function countOf(users: AsyncGenerator<Sendable>): Promise<number> {
  let count = 0;
  while (!(await users.next()).done) count += 1;
  return count;
}

/** One line for each user, with the secrets made for them. */
function printResult({ user, ...rest }: SentUser): void {
  const line = JSON.stringify({ username: user.username, ...rest });
  process.stdout.write(`${escapeJson(line)}\n`);
}

function formatOf(file: string): ImportFormat {
  if (/\.csv$/i.test(file)) return 'csv';
  if (/\.(ndjson|jsonl)$/i.test(file)) return 'ndjson';
  throw new CliError('say --format csv or --format ndjson', { exitCode: 2 });
}

function openInput(file: string) {
  let sizeBytes: number | null = null;
  if (file !== '-') {
    try {
      sizeBytes = statSync(file).size;
    } catch (cause) {
      const { code } = cause as { code?: string };
      throw new CliError(`cannot read ${file} (${code})`, { cause });
    }
  }
  const stream = file === '-' ? process.stdin : createReadStream(file);
  let readBytes = 0;
  return {
    sizeBytes,
    readBytes: () => readBytes,
    async *text(): AsyncGenerator<string> {
      for await (const chunk of stream.setEncoding('utf8')) {
        readBytes += Buffer.byteLength(chunk as string);
        yield chunk as string;
      }
    },
  };
}
