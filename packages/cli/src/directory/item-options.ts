import {
  METHODS,
  PHONE_KINDS,
  SYNC_ITEM_DEFAULTS,
  type ItemPlace,
} from '@countersign/verification';
import { Option, type Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { parseCount } from '../parse-count.ts';
import { collect } from '../setting-arguments.ts';

export type ItemOptions = {
  group?: string;
  container?: string;
  domain?: boolean;
  method?: string;
  language?: string;
  phone: string[];
  vouch?: string;
  mail?: boolean;
  onRemoval?: string;
  update: string[];
  enable?: boolean;
  disable?: boolean;
} & PlaceOptions;

export type PlaceOptions = { before?: string; after?: string; position?: number };

export function withItemOptions(command: Command): Command {
  const updates = Object.keys(SYNC_ITEM_DEFAULTS.update).join(', ');
  return command
    .option('--group <dn>', 'the people of a group, and of the groups in it')
    .option('--container <dn>', 'the people of a container, and of what is below it')
    .option('--domain', 'everybody of the directory')
    .addOption(
      new Option('--method <method>', "of its users; default: the company's").choices([
        ...METHODS,
        'default',
      ]),
    )
    .option('--language <language>', "two letters, like nl; default: the company's")
    .option(
      '--phone <kind:use>',
      `a phone that is taken, in order: ${PHONE_KINDS.join(', ')} as primary or backup; none`,
      collect,
      [],
    )
    .addOption(
      new Option('--vouch <when>', 'whether numbers count that nobody has proved').choices([
        'never',
        'import',
        'always',
      ]),
    )
    .option('--mail', 'send new users the mail that tells how to sign in')
    .option('--no-mail', 'do not')
    .addOption(
      new Option('--on-removal <what>', 'with whoever is in no item any more').choices([
        'keep',
        'disable',
        'remove',
      ]),
    )
    .option(
      '--update <what=when>',
      `when it follows the directory: ${updates}; always, import or never`,
      collect,
      [],
    )
    .option('--enable', 'its users may sign in')
    .option('--disable', 'its users may not sign in');
}

export function withPlaceOptions(command: Command): Command {
  return command
    .option('--before <item>', 'before another one')
    .option('--after <item>', 'behind another one')
    .option('--position <number>', 'at this place, from 1', parseCount);
}

/** What the options say of an item, as the API takes it. */
export function itemOf(options: ItemOptions): Record<string, unknown> {
  if (options.enable && options.disable) throw usage('--enable and --disable exclude each other');
  const scope = scopeOf(options);
  const phones = phonesOf(options.phone);
  const update = updateOf(options.update);
  const orDefault = (text: string) => (text === 'default' ? null : text);
  return {
    ...(scope && { scope }),
    ...(options.method !== undefined && { method: orDefault(options.method) }),
    ...(options.language !== undefined && { language: orDefault(options.language) }),
    ...(phones && { phones }),
    ...(options.vouch !== undefined && { vouchForPhones: options.vouch }),
    ...(options.mail !== undefined && { mailOnImport: options.mail }),
    ...(options.onRemoval !== undefined && { onRemoval: options.onRemoval }),
    ...(update && { update }),
    ...(options.enable && { enabled: true }),
    ...(options.disable && { enabled: false }),
  };
}

export function placeOf({ before, after, position }: PlaceOptions): ItemPlace | undefined {
  const places: ItemPlace[] = [
    ...(before === undefined ? [] : [{ before }]),
    ...(after === undefined ? [] : [{ after }]),
    ...(position === undefined ? [] : [{ position }]),
  ];
  if (places.length > 1) throw usage('one of --before, --after and --position');
  return places[0];
}

function scopeOf({ group, container, domain }: ItemOptions): object | undefined {
  const scopes = [
    ...(group === undefined ? [] : [{ kind: 'group', dn: group }]),
    ...(container === undefined ? [] : [{ kind: 'container', dn: container }]),
    ...(domain ? [{ kind: 'domain' }] : []),
  ];
  if (scopes.length > 1) throw usage('one of --group, --container and --domain');
  return scopes[0];
}

function phonesOf(given: string[]): object[] | undefined {
  if (given.length === 0) return undefined;
  if (given.length === 1 && given[0] === 'none') return [];
  return given.map((text) => {
    const [kind = '', use = 'primary', ...rest] = text.split(':');
    const isKind = (PHONE_KINDS as readonly string[]).includes(kind);
    if (isKind && rest.length === 0 && /^(primary|backup)$/.test(use)) return { kind, use };
    throw usage(`--phone ${text}: like mobile:primary or business:backup`);
  });
}

function updateOf(given: string[]): Record<string, string> | undefined {
  if (given.length === 0) return undefined;
  const all = given.map((text) => {
    const [what = '', when = '', ...rest] = text.split('=');
    const isKnown = Object.hasOwn(SYNC_ITEM_DEFAULTS.update, what);
    if (isKnown && rest.length === 0 && /^(always|import|never)$/.test(when)) return [what, when];
    throw usage(`--update ${text}: like mail=never, names=import or phones=always`);
  });
  return Object.fromEntries(all) as Record<string, string>;
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
