import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { formatLocalTime } from '../format-time.ts';
import { parseCount } from '../parse-count.ts';
import { printLines } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { readNewSecret } from '../read-input.ts';
import { openSession } from '../session.ts';
import { userPath } from './user-path.ts';

/** What an administrator may grant, set and hand out so that somebody can sign in. */
export function addSignInCommands(user: Command): void {
  exemptUser(user);
  bypassUser(user);
  setPin(user);
  makeEnrolmentCode(user);
  makeRecoveryCodes(user);
  reportFraud(user);
}

function exemptUser(user: Command): void {
  user
    .command('exempt')
    .description('skip the second step of a user for a time, at most 365 days')
    .argument('<username>')
    .option('--reason <text>', 'kept with the exemption')
    .option('--until <date>', 'a date like 2026-12-31 (its end) or a moment like 2026-12-31T12:00Z')
    .option('--days <n>', 'so many days from now', parseCount)
    .option('--end', 'end it now')
    .action(async (username: string, options: ExemptOptions, command: Command) => {
      const path = userPath(username, '/exemption');
      const body = options.end ? null : exemptionOf(options);
      const session = openSession(command);
      if (body === null) {
        const reply = await session.call({ method: 'DELETE', path });
        return printWrite(session, reply, `${username} is no longer exempt`);
      }
      const reply = await session.call({ method: 'PUT', path, body });
      const until = formatLocalTime(Date.parse(body.until));
      printWrite(session, reply, `${username} is exempt until ${until}`);
    });
}

type ExemptOptions = { reason?: string; until?: string; days?: number; end?: boolean };

function exemptionOf({ reason, until, days, end }: ExemptOptions) {
  if (reason === undefined || (until === undefined) === (days === undefined) || end) {
    throw new CliError('give --reason and either --until or --days, or --end alone', {
      exitCode: 2,
    });
  }
  const untilMs = days === undefined ? momentOf(until!) : Date.now() + days * 86_400_000;
  if (Number.isNaN(untilMs)) {
    throw new CliError(`--until ${until} is neither a date nor a moment`, { exitCode: 2 });
  }
  return { reason, until: new Date(untilMs).toISOString() };
}

/** A date is meant to its end, by the clock on the wall. */
function momentOf(text: string): number {
  return Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T23:59:59` : text);
}

function bypassUser(user: Command): void {
  user
    .command('bypass')
    .description('let a user in once without a second step')
    .argument('<username>')
    .option('--reason <text>', 'kept with the bypass')
    .option('--seconds <n>', 'how long it can be used; as set (300) if not said', parseCount)
    .option('--end', 'take it back')
    .action(async (username: string, options: BypassOptions, command: Command) => {
      const { reason, seconds, end } = options;
      if ((reason === undefined) !== (end ?? false)) {
        throw new CliError('give --reason, or --end alone', { exitCode: 2 });
      }
      const path = userPath(username, '/bypass');
      const session = openSession(command);
      if (end) {
        const reply = await session.call({ method: 'DELETE', path });
        return printWrite(session, reply, `${username} has no bypass`);
      }
      const reply = await session.call({ method: 'POST', path, body: { reason, seconds } });
      const { bypass } = reply as { bypass?: { expiresAt: string } | null };
      const until = bypass ? ` until ${formatLocalTime(Date.parse(bypass.expiresAt))}` : '';
      printWrite(session, reply, `${username} may come in once without a second step${until}`);
    });
}

type BypassOptions = { reason?: string; seconds?: number; end?: boolean };

function setPin(user: Command): void {
  user
    .command('pin')
    .description('set the PIN of a user: asked for at the terminal, else read from stdin')
    .argument('<username>')
    .option('--keep', 'it need not be changed at its first use')
    .option('--remove', 'remove it')
    .action(
      async (username: string, options: { keep?: boolean; remove?: boolean }, command: Command) => {
        const session = openSession(command);
        const path = userPath(username, '/pin');
        if (options.remove) {
          const reply = await session.call({ method: 'DELETE', path });
          return printWrite(session, reply, `${username} has no PIN`);
        }
        const pin = await readNewSecret('PIN');
        const body = { pin, mustChange: !options.keep };
        const reply = await session.call({ method: 'PUT', path, body });
        const note = options.keep ? '' : ', to be changed at its first use';
        printWrite(session, reply, `set the PIN of ${username}${note}`);
      },
    );
}

function makeEnrolmentCode(user: Command): void {
  user
    .command('enrol')
    .alias('enroll')
    .description('print a code that enrols one authenticator of a user, only this once')
    .argument('<username>')
    .option('--days <n>', 'how long it is good; as set (14) if not said', parseCount)
    .action(async (username: string, options: { days?: number }, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, '/enrolment-code');
      const reply = await session.call({ method: 'POST', path, body: options });
      const { code, expiresAt } = reply as { code: string | null; expiresAt: string | null };
      const until = expiresAt === null ? '' : ` until ${formatLocalTime(Date.parse(expiresAt))}`;
      printWrite(session, reply, `${username} may enrol${until}`);
      if (!session.json && code !== null) printLines([escapeUntrusted(code)]);
    });
}

function makeRecoveryCodes(user: Command): void {
  user
    .command('recovery-codes')
    .description('print new recovery codes of a user, only this once; earlier ones are void')
    .argument('<username>')
    .option('--count <n>', '1 to 16; 10 if not said', parseCount)
    .action(async (username: string, options: { count?: number }, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, '/recovery-codes');
      const reply = await session.call({ method: 'POST', path, body: options });
      const { codes } = reply as { codes: string[] };
      printWrite(session, reply, `made ${codes.length} recovery codes of ${username}`);
      if (!session.json) printLines(codes.map((code) => escapeUntrusted(code)));
    });
}

function reportFraud(user: Command): void {
  user
    .command('fraud')
    .description('report that a verification was not the user; works without a master too')
    .argument('<username>')
    .option('--reason <text>', 'what happened')
    .action(async (username: string, options: { reason?: string }, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, '/fraud');
      const reply = await session.call({ method: 'POST', path, body: options });
      if (session.json) return printWrite(session, reply, '');
      const { blocked } = reply as { blocked?: boolean };
      const then = blocked ? ', who is blocked now' : '';
      printLines([`${escapeUntrusted(`reported fraud on ${username}`, 400)}${then}`]);
    });
}
