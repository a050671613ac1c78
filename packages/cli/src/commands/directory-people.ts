import type { PersonPreview, SignInCheck } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { confirmByTyping } from '../confirm.ts';
import { DIRECTORY_TIMEOUT_MS, directoryPath } from '../directory/paths.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { readSecret } from '../read-input.ts';
import { openSession, type Session } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { withSpinner } from '../with-spinner.ts';

type Found = { people: PersonPreview[]; isMore: boolean };
type Imported = {
  results: { object: string; username: string | null; outcome: string; detail?: string }[];
};

const LIMIT = 50;
const IMPORT_MAX = 200;
const DNS_MAX = 100;

export function addPeopleCommands(directory: Command): void {
  browse(directory);
  search(directory);
  importPeople(directory);
  check(directory);
}

function browse(directory: Command): void {
  directory
    .command('browse')
    .description('the containers right below one, or the groups with a text in their name')
    .argument('<directory>')
    .argument('[dn]', 'default: the base')
    .option('--groups [text]', 'groups instead')
    .action(
      async (
        name: string,
        dn: string | undefined,
        { groups }: { groups?: string | true },
        command: Command,
      ) => {
        const session = openSession(command);
        const isGroups = groups !== undefined;
        const reply = await ask(session, directoryPath(name, isGroups ? 'groups' : 'containers'), {
          ...(typeof groups === 'string' && { search: groups }),
          ...(!isGroups && dn !== undefined && { under: dn }),
        });
        if (session.json) return printJson(reply);
        type Named = { dn: string; name: string };
        const told = reply as { containers?: Named[]; groups?: Named[]; isMore: boolean };
        const rows = (told.containers ?? told.groups ?? []).map((one) => [one.name, one.dn]);
        printTable(['NAME', 'DN'], rows);
        if (told.isMore) printLines(['there are more than these']);
      },
    );
}

function search(directory: Command): void {
  directory
    .command('search')
    .description('people, and what each would become; changes nothing')
    .argument('<directory>')
    .argument('[text]', 'in a name, username or mail address; default: everybody')
    .option('--under <dn>', 'of this container alone')
    .option('--limit <count>', `at most 200; default ${LIMIT}`, parseCount)
    .action(
      async (
        name: string,
        text: string | undefined,
        { under, limit = LIMIT }: { under?: string; limit?: number },
        command: Command,
      ) => {
        const session = openSession(command);
        const found = await findPeople(session, name, { search: text, under, limit });
        if (session.json) return printJson(found);
        printPeople(found.people);
        if (found.isMore) printLines([`there are more than these ${found.people.length}`]);
      },
    );
}

function importPeople(directory: Command): void {
  directory
    .command('import')
    .description('make users of people, after showing who that is')
    .argument('<directory>')
    .argument('[text]', 'in a name, username or mail address')
    .option('--dn <dn>', 'somebody; repeat for several', collect, [])
    .option('--under <dn>', 'of this container alone')
    .option('--yes', 'do not ask')
    .action(
      async (
        name: string,
        text: string | undefined,
        options: { dn: string[]; under?: string; yes?: boolean },
        command: Command,
      ) => {
        const { dn, under, yes } = options;
        if (text === undefined && under === undefined && dn.length === 0) {
          throw new CliError('who? Give a text, --under DN or --dn DN', { exitCode: 2 });
        }
        if (dn.length > DNS_MAX) {
          throw new CliError(`at most ${DNS_MAX} --dn at a time`, { exitCode: 2 });
        }
        const session = openSession(command);
        const people = [...(await findByDns(session, name, dn))];
        if (text !== undefined || under !== undefined) {
          const found = await findPeople(session, name, { search: text, under, limit: IMPORT_MAX });
          people.push(...found.people);
          if (found.isMore) {
            const how = 'narrow the search, or let a sync item take them';
            throw new CliError(`more than ${IMPORT_MAX} people are found: ${how}`);
          }
        }
        await importThese(session, name, { people, isAsked: !yes });
      },
    );
}

async function importThese(
  session: Session,
  name: string,
  { people, isAsked }: { people: PersonPreview[]; isAsked: boolean },
): Promise<void> {
  const known = new Map(people.map((person) => [person.object, person]));
  const able = [...known.values()].filter(({ problem }) => problem === null);
  if (!session.json) printPeople([...known.values()]);
  if (able.length === 0) throw new CliError('nobody of them can be imported');
  if (isAsked) await confirmByTyping('import', `${able.length} people become users.`);
  const results: Imported['results'] = [];
  for (let from = 0; from < able.length; from += IMPORT_MAX) {
    const objects = able.slice(from, from + IMPORT_MAX).map(({ object }) => object);
    const path = directoryPath(name, 'import');
    const sent = session.call({ method: 'POST', path, body: { objects } });
    const reply = (await withSpinner('importing', sent)) as Imported;
    results.push(...reply.results);
  }
  const refused = results.filter(({ outcome }) => outcome === 'refused');
  if (session.json) printJson({ results });
  else {
    for (const { object, username, detail = 'refused' } of refused) {
      const who = username ?? known.get(object)?.dn ?? object;
      process.stderr.write(`${escapeUntrusted(who)}: ${escapeUntrusted(detail, 300)}\n`);
    }
    const count = (outcome: string) => results.filter((one) => one.outcome === outcome).length;
    printLines([
      `${count('added')} added, ${count('changed')} changed, ${count('unchanged')} as they were, ${refused.length} refused`,
    ]);
  }
  if (refused.length > 0) process.exitCode = 1;
}

function check(directory: Command): void {
  directory
    .command('check')
    .description("try somebody's password, which is asked for or read from stdin")
    .argument('<directory>')
    .argument('<user>', 'any name the directory knows: alice, CORP\\alice, alice@corp.example')
    .action(async (name: string, username: string, _options, command: Command) => {
      const password = await readSecret(`password of ${username}`);
      const session = openSession(command);
      const asked = session.call({
        method: 'POST',
        path: directoryPath(name, 'check'),
        body: { username, password },
        timeoutMs: DIRECTORY_TIMEOUT_MS,
      });
      const found = (await withSpinner('asking the directory', asked)) as SignInCheck;
      if (session.json) printJson(found);
      else printLines([escapeUntrusted(sayCheck(found), 1500)]);
      if (found.outcome !== 'accepted') process.exitCode = 1;
    });
}

function sayCheck(found: SignInCheck): string {
  if (found.outcome === 'refused') return `refused: ${found.reason}`;
  if (found.outcome === 'unavailable') return `the directory cannot say: ${found.problem}`;
  const who = found.user === null ? 'is no user yet' : `is the user ${found.user}`;
  return `accepted: ${found.dn} ${who}`;
}

async function findByDns(session: Session, name: string, dns: string[]): Promise<PersonPreview[]> {
  const all: PersonPreview[] = [];
  for (const dn of dns) {
    const { people } = await findPeople(session, name, { under: dn, limit: LIMIT });
    const isIt = (person: PersonPreview) => person.dn.toLowerCase() === dn.toLowerCase();
    const found = people.find(isIt) ?? (people.length === 1 ? people[0] : undefined);
    if (!found) throw new CliError(`nobody is ${escapeUntrusted(dn, 300)}: nothing was imported`);
    all.push(found);
  }
  return all;
}

async function findPeople(
  session: Session,
  name: string,
  query: { search?: string | undefined; under?: string | undefined; limit: number },
): Promise<Found> {
  const { search: text, under, limit } = query;
  const reply = await ask(session, directoryPath(name, 'people'), {
    search: text,
    under,
    limit: String(limit),
  });
  return reply as Found;
}

function ask(
  session: Session,
  path: string,
  query: Record<string, string | undefined>,
): Promise<unknown> {
  const asked = session.call({ method: 'GET', path, query, timeoutMs: DIRECTORY_TIMEOUT_MS });
  return withSpinner('reading the directory', asked);
}

function printPeople(people: readonly PersonPreview[]): void {
  const rows = people.map((person) => [
    person.username ?? '-',
    nameOf(person),
    person.mail ?? '-',
    person.phones.map(({ kind, number }) => `${kind} ${number}`).join(', ') || '-',
    person.item ?? '-',
    fateOf(person),
  ]);
  printTable(['USERNAME', 'NAME', 'MAIL', 'PHONES', 'ITEM', 'BECOMES'], rows);
  const dropped = people.flatMap(({ dn, username, dropped: all }) =>
    all.map(({ attribute, why }) =>
      escapeUntrusted(`${username ?? dn}: ${attribute} is left out: ${why}`, 400),
    ),
  );
  printLines(dropped);
}

function nameOf({ displayName, firstName, lastName }: PersonPreview): string {
  return displayName ?? ([firstName, lastName].filter((part) => part !== null).join(' ') || '-');
}

function fateOf({ user, problem, isDisabled }: PersonPreview): string {
  if (problem !== null) return `nobody: ${problem}`;
  const who = user === null ? 'a new user' : `is the user ${user}`;
  return isDisabled ? `${who}, disabled there` : who;
}
