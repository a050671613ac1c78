import { createHash } from 'node:crypto';
import {
  findUsersById,
  listStandingAdministrators,
  type Database,
  type EventChoice,
  type PlacedEvent,
} from '@countersign/database';
import {
  readMailAddress,
  renderMail,
  TemplateError,
  type MailMessage,
  type MailSituation,
} from '@countersign/delivery';
import { isPin, spareCodeHash } from '@countersign/operations';
import type { Log } from '@countersign/cluster';
import type { Authenticator, Settings, UserDocument } from '@countersign/verification';
import type { CommandKeys } from '../commands/plan.ts';
import { findMade, newEnrolmentCode, newInitialPin } from '../new-secrets.ts';

/** One mail to one person, as it would be sent now. */
export type PlannedMail = MailMessage & {
  situation: MailSituation;
  userId: string | null;
  username: string | null;
};

type Options = {
  db: Database;
  keys: Pick<CommandKeys, 'new-secret' | 'spare-code' | 'pin'>;
  settings: Settings;
  log: Pick<Log, 'warn'>;
};

type Values = Record<string, string | number | Date | undefined>;
type Letter = { situation: MailSituation; values: Values };
type ToUser = (
  event: PlacedEvent,
  user: UserDocument,
  options: Options,
) => Letter | null | Promise<Letter | null>;
type ToAdministrators = (event: PlacedEvent, user: UserDocument | null) => Letter;

// An event without a result is not known to have happened, and nothing in the document would show it.
const changed = (situation: MailSituation) => {
  return ({ at, result }: PlacedEvent, _user: UserDocument): Letter | null =>
    result === 'done' ? { situation, values: { when: new Date(at) } } : null;
};

const tellPinChanged = changed('pinChanged');

/** What users are told of, by the type of the event. */
const TO_USERS: Record<string, ToUser> = {
  'user.add': tellNewUser,
  'user.add-many': tellNewUser,
  'directory.welcome': tellNewUser,
  'directory.approve-phone': tellPhone,
  'directory.phone_changed': tellPhone,
  'authenticator.enroll': tellEnrolled,
  'authenticator.enroll-with-code': tellEnrolled,
  'authenticator.remove': changed('authenticatorRemoved'),
  'user.set': tellMethod,
  'user.set-pin': tellPin,
  'user.change-pin': tellPinChanged,
  'user.remove-pin': tellPinChanged,
  'user.make-enrolment-code': tellEnrolmentCode,
};

/** What administrators are told of. */
const TO_ADMINISTRATORS: Record<string, ToAdministrators> = {
  fraud: ({ at, username, application, node }, user) => ({
    situation: 'fraudReported',
    values: {
      user_name: user?.username ?? username ?? '?',
      when: new Date(at),
      application_name: application ?? undefined,
      server_name: node,
    },
  }),
  'text.budget_alarm': ({ at, node, details }) => ({
    situation: 'textBudgetAlarm',
    values: {
      budget_name: details.limit === 'prefix' ? `${String(details.prefix)}…` : node,
      limit: Number(details.perHour),
      when: new Date(at),
      server_name: node,
    },
  }),
  'directory.held': ({ at, details }) => ({
    situation: 'approvalNeeded',
    values: {
      directory_name: String(details.directory),
      count: Number(details.count),
      limit: Number(details.limit),
      when: new Date(at),
    },
  }),
  'administrator.recover': ({ at, node, details }) => ({
    situation: 'administratorRecovered',
    values: {
      user_name: String(details.administrator),
      when: new Date(at),
      server_name: node,
    },
  }),
  'administrator.sign-in': ({ at, actor, node, reason }) => ({
    situation: 'userLockedOut',
    values: {
      user_name: actor ?? '?',
      when: new Date(at),
      reason: reason ?? undefined,
      server_name: node,
    },
  }),
  verification: ({ at, username, application, node, reason }, user) => ({
    situation: 'userLockedOut',
    values: {
      user_name: user?.username ?? username ?? '?',
      when: new Date(at),
      reason: reason ?? undefined,
      application_name: application ?? undefined,
      server_name: node,
    },
  }),
};

/** Break-glass, and who locks an administrator out, concern every administrator who has an address. */
const TO_EVERY_ADMINISTRATOR: ReadonlySet<string> = new Set([
  'administrator.recover',
  'administrator.sign-in',
]);

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Verifications and sign-ins are worth a mail only where a lockout begins: they carry this among their details. */
const LOCKOUT_MARK = 'beginsLockout';

export const MAIL_EVENTS: EventChoice = {
  types: [...Object.keys(TO_USERS), ...Object.keys(TO_ADMINISTRATORS)].filter(
    (type) => type !== 'verification' && type !== 'administrator.sign-in',
  ),
  mark: LOCKOUT_MARK,
};

/** Whether an event is told to administrators rather than to the user it is about. */
export function isForAdministrators({ type }: PlacedEvent): boolean {
  return type in TO_ADMINISTRATORS;
}

/**
 * The mails that an event calls for by what users and settings are now, in an order that stays: null where somebody it
 * is about is not to be mailed. The same mail has the same id each time.
 */
export async function planMails(
  event: PlacedEvent,
  options: Options,
): Promise<(PlannedMail | null)[]> {
  const { settings } = options;
  const tellUser = TO_USERS[event.type];
  if (tellUser) {
    if (!settings.mail.toUsers) return [];
    const ids = aboutWhom(event);
    const users = new Map((await findUsersById(options.db, ids)).map((user) => [user.id, user]));
    const planned = ids.map(async (id) => {
      const user = users.get(id);
      const to = user?.email === undefined ? undefined : readMailAddress(user.email);
      const letter = user && to !== undefined ? await tellUser(event, user, options) : null;
      if (!user || to === undefined || !letter) return null;
      const name = { user_name: user.displayName ?? user.username };
      return write(letter, name, { event, to, key: id, user, options });
    });
    return Promise.all(planned);
  }
  const tell = TO_ADMINISTRATORS[event.type];
  if (!tell) return [];
  const [user] = await findUsersById(options.db, aboutWhom(event));
  const letter = tell(event, user ?? null);
  const addresses = [...settings.mail.administrators, ...(await ownAddresses(event, options))];
  return [...new Set(addresses)].map((address) => {
    const to = readMailAddress(address);
    if (to === undefined) return null;
    return write(letter, {}, { event, to, key: to, user: user ?? null, options });
  });
}

/** Also those that administrators have themselves. */
async function ownAddresses({ type }: PlacedEvent, { db }: Options): Promise<string[]> {
  if (!TO_EVERY_ADMINISTRATOR.has(type)) return [];
  const standing = await listStandingAdministrators(db);
  return standing.flatMap(({ mail, disabled }) => (mail && !disabled ? [mail] : []));
}

function aboutWhom({ userId, details }: PlacedEvent): string[] {
  const ids: unknown[] = Array.isArray(details.userIds) ? details.userIds : [userId];
  return ids.filter((id) => typeof id === 'string').filter((id) => UUID.test(id));
}

function write(
  { situation, values }: Letter,
  more: Values,
  about: {
    event: PlacedEvent;
    to: string;
    key: string;
    user: UserDocument | null;
    options: Options;
  },
): PlannedMail | null {
  const { event, to, key, user, options } = about;
  const { settings, log } = options;
  const { name, portalUrl, language } = settings.company;
  const link = portalUrl === '' ? undefined : portalUrl;
  // The values of a situation are checked when it is rendered.
  const all = { company_name: name, link, ...more, ...values } as never;
  const isToUser = !(event.type in TO_ADMINISTRATORS);
  const rules = {
    languages: isToUser ? [user?.language, language] : [language],
    portalUrl: link,
  };
  const written = tryToRender(situation, all, rules);
  if (!('subject' in written)) {
    log.warn({ event: event.id, situation, ...written }, 'a mail cannot be written');
    return null;
  }
  const { subject, text } = written;
  const id = createHash('sha256').update(`mail\0${event.id}\0${key}`).digest('hex').slice(0, 32);
  return {
    id,
    to,
    subject,
    text,
    situation,
    userId: user?.id ?? null,
    username: user?.username ?? null,
  };
}

/** An event that lacks what its mail needs must not hold up the others. */
function tryToRender(
  ...parts: Parameters<typeof renderMail>
): ReturnType<typeof renderMail> | { problem: string } {
  try {
    return renderMail(...parts);
  } catch (error) {
    if (error instanceof TemplateError) return { problem: error.message };
    throw error;
  }
}

/** Of the authenticators that came with the user: a phone tells more than a token. */
function tellNewUser(_event: PlacedEvent, user: UserDocument, options: Options): Letter | null {
  // How to sign in is no news to whoever may not.
  if (!user.enabled) return null;
  const made = Date.parse(user.createdAt);
  const first = user.authenticators.filter(({ createdAt }) => Date.parse(createdAt) <= made);
  const told = first.find(({ type }) => type === 'phone') ?? first[0];
  return told ? tellOf(told, user, options) : null;
}

function tellEnrolled(event: PlacedEvent, user: UserDocument, options: Options): Letter | null {
  const { authenticator } = event.details;
  const added = user.authenticators.find(({ id }) => id === authenticator);
  if (!added) return null;
  const isFirstOfItsKind = user.authenticators.every(
    (other) =>
      other.id === added.id ||
      (other.type === 'phone') !== (added.type === 'phone') ||
      other.createdAt > added.createdAt,
  );
  if (isFirstOfItsKind) return tellOf(added, user, options);
  const when = new Date(event.at);
  if (added.type === 'phone') {
    return { situation: 'phoneChanged', values: { when, phone_ending: endingOf(added.number) } };
  }
  const values = { when, authenticator_name: added.name, method_name: 'OATH' };
  return { situation: 'authenticatorAdded', values };
}

/** How its first of the kind is used from now on. */
function tellOf(authenticator: Authenticator, user: UserDocument, { settings }: Options): Letter {
  if (authenticator.type !== 'phone') {
    return { situation: 'enrolledForToken', values: { authenticator_name: authenticator.name } };
  }
  const values = { phone_ending: endingOf(authenticator.number) };
  const method = user.method ?? settings.methods.default;
  if (method === 'text') return { situation: 'enrolledForText', values };
  return { situation: method === 'call' ? 'enrolledForCall' : 'phonesImported', values };
}

/** Another number of a phone: the one that is to come, or that came. */
function tellPhone({ at, result, details }: PlacedEvent, _user: UserDocument): Letter | null {
  if (result !== 'done' || typeof details.ending !== 'string') return null;
  const values = { when: new Date(at), phone_ending: details.ending };
  return { situation: 'phoneChanged', values };
}

function tellMethod({ at, result, details }: PlacedEvent, user: UserDocument): Letter | null {
  if (details.method === undefined || result !== 'done') return null;
  const values = { when: new Date(at), method_name: user.method };
  return { situation: 'methodChanged', values };
}

/** The code follows from its command under a key of the agents; one that is spent or replaced is not sent any more. */
async function tellEnrolmentCode(
  { details }: PlacedEvent,
  user: UserDocument,
  { keys }: Options,
): Promise<Letter | null> {
  const { enrolment } = user;
  if (!enrolment || typeof details.command !== 'string') return null;
  const { at, codeHash, expiresAt } = enrolment;
  const origin = { commandId: details.command, at };
  const code = await findMade(
    keys['new-secret'],
    (key) => newEnrolmentCode(key, origin),
    (made) => spareCodeHash(keys['spare-code'], 'enrolment', user.id, made) === codeHash,
  );
  if (code === null) return null;
  const values = { enrolment_code: code, expires: new Date(expiresAt) };
  return { situation: 'enrolmentCode', values };
}

/** A PIN that is not in force any more is not sent. */
async function tellPin(
  event: PlacedEvent,
  user: UserDocument,
  { keys, settings }: Options,
): Promise<Letter | null> {
  const { mailed, command } = event.details;
  if (mailed === undefined) return tellPinChanged(event, user);
  if (!settings.mail.pinMails || !user.pin || typeof command !== 'string') return null;
  const origin = { commandId: command, at: user.pin.setAt };
  const stored = user.pin;
  const pin = await findMade(
    keys['new-secret'],
    (key) => newInitialPin(key, origin, Number(mailed)),
    (made) => isPin(keys.pin, user.id, made, stored),
  );
  return pin === null ? null : { situation: 'initialPin', values: { pin } };
}

const endingOf = (number: string) => number.slice(-2);
