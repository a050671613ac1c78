import { z } from 'zod';
import { METHODS, MODES } from './methods.ts';
import { isSafeText } from './safe-text.ts';
import { byApplication, listOf, oneOf, secret, text, wholeNumber, yesOrNo } from './setting.ts';
import type { Setting } from './setting.ts';
import { checkProviderList, summariseTextProviders } from './text-providers.ts';
import { parseAddressRange } from './trusted-address.ts';

export const APPLICATIONS_MAX = 1000;

/** No application is called anything else. */
export const applicationName = z
  .string()
  .min(1)
  .max(128)
  .refine((name) => isSafeText(name) && name !== '__proto__', 'not an application name')
  .refine((name) => name.trim() === name, 'begins or ends with a space');

const byApplicationToo = ['application'] as const;
const byUserToo = ['application', 'user'] as const;

const withoutQuorum = oneOf(['serve', 'refuse'], {
  standard: 'serve',
  overriddenBy: byApplicationToo,
  about:
    'What becomes of verifications while the quorum is away: each isolated side serves for itself, or refuses.',
});

const country = {
  maxLength: 2,
  allowed: 'a country by ISO 3166, such as NL',
  isValid: (code: string) => /^[A-Z]{2}$/.test(code),
};

const mailAddress = {
  maxLength: 254,
  allowed: 'a mail address',
  isValid: (address: string) =>
    /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]+$/.test(address),
};

/**
 * Every setting, once: its type, bounds, default, unit and meaning, who may have another value, and
 * whether it is a secret. Checks, names, the command line and docs/settings.md all follow from here.
 */
export const SETTINGS = {
  company: {
    name: text({
      maxLength: 60,
      allowed: 'a name of 1 to 60 characters',
      isValid: (name) => name.trim() !== '',
      standard: 'Countersign',
      about: 'What texts, mails and apps call this service.',
    }),
    language: text({
      maxLength: 2,
      allowed: 'a language by its two letters, such as en or nl',
      isValid: (code) => /^[a-z]{2}$/.test(code),
      standard: 'en',
      overriddenBy: byUserToo,
      about: 'Language of texts, mails and messages; English where there is no such language.',
    }),
    portalUrl: text({
      maxLength: 300,
      allowed: 'an https address without query, or empty',
      isValid: isPlainHttpsUrl,
      standard: '',
      about:
        'Address of the user portal, for the links in mails. No other address ever gets into one.',
    }),
  },
  lockout: {
    failures: wholeNumber({
      min: 1,
      max: 100,
      standard: 5,
      about: 'Wrong answers that lock a user out.',
    }),
    resetMinutes: wholeNumber({
      min: 1,
      max: 1440,
      standard: 10,
      unit: 'minutes',
      about: 'Failures this old no longer count.',
    }),
    releaseMinutes: wholeNumber({
      min: 1,
      max: 1440,
      standard: 10,
      unit: 'minutes',
      about: 'How long the first lockout lasts; each further one in a row lasts twice as long.',
    }),
    passwordFailures: wholeNumber({
      min: 1,
      max: 100,
      standard: 4,
      about:
        "Wrong passwords after which a user's directory is not asked any more: fewer than lock the account there.",
    }),
    passwordMinutes: wholeNumber({
      min: 1,
      max: 1440,
      standard: 30,
      unit: 'minutes',
      about:
        'How long it is not asked, and after which wrong passwords no longer count: as long as the directory counts them.',
    }),
  },
  failover: {
    mode: oneOf(['automatic', 'manual'], {
      standard: 'automatic',
      about: 'Whether another node becomes master by itself, or only by `promote`.',
    }),
    afterSeconds: wholeNumber({
      min: 5,
      max: 600,
      standard: 6,
      unit: 'seconds',
      about: "How long after the master's last sign of life another node may take over.",
    }),
  },
  certificates: {
    nodeDays: wholeNumber({
      min: 1,
      max: 825,
      standard: 90,
      unit: 'days',
      about:
        "How long a node's certificate is good. Nodes renew theirs when a third of that is left.",
    }),
  },
  withoutQuorum: {
    default: withoutQuorum,
    applications: byApplication(withoutQuorum, {
      name: applicationName,
      max: APPLICATIONS_MAX,
      about:
        'The same for one application by name, also where there is no such document; the value `default` takes it back. `withoutQuorum.default` of the application itself goes first.',
    }),
  },
  events: {
    retentionDays: wholeNumber({
      min: 1,
      max: 3650,
      standard: 365,
      unit: 'days',
      about: 'Events older than this are dropped on every node, by whole days.',
    }),
    recordNames: yesOrNo({
      standard: true,
      about: 'Whether verifications record the display name.',
    }),
    recordMail: yesOrNo({
      standard: true,
      about: 'Whether verifications record the mail address.',
    }),
    recordPhones: yesOrNo({
      standard: true,
      about: 'Whether verifications record the number that was texted or called.',
    }),
    recordAddresses: yesOrNo({
      standard: true,
      about: "Whether verifications record the end user's address.",
    }),
    hashUnknownNames: yesOrNo({
      standard: true,
      about: 'Records names that no user has as a hash: people type passwords there.',
    }),
  },
  methods: {
    default: oneOf(METHODS, {
      standard: 'oath',
      overriddenBy: byUserToo,
      about: 'The method of users who have none of their own.',
    }),
    oathMode: oneOf(MODES.oath, {
      standard: 'code',
      overriddenBy: byUserToo,
      about: 'What the method oath asks.',
    }),
    textMode: oneOf(MODES.text, {
      standard: 'otp',
      overriddenBy: byUserToo,
      about: 'What the method text asks.',
    }),
    callMode: oneOf(MODES.call, {
      standard: 'standard',
      overriddenBy: byUserToo,
      about: 'What the method call asks: # alone, or the PIN and #.',
    }),
    appMode: oneOf(MODES.app, {
      standard: 'number',
      overriddenBy: byUserToo,
      about: 'What the method app asks.',
    }),
    oathFallback: yesOrNo({
      standard: true,
      overriddenBy: byApplicationToo,
      about: 'Whether a code of a token is taken where another method was begun.',
    }),
    codeDigits: wholeNumber({
      min: 6,
      max: 8,
      standard: 6,
      unit: 'digits',
      overriddenBy: byApplicationToo,
      about: 'Length of a code that is sent.',
    }),
    answerMinutes: wholeNumber({
      min: 1,
      max: 10,
      standard: 5,
      unit: 'minutes',
      overriddenBy: byApplicationToo,
      about: 'How long an answer is waited for.',
    }),
  },
  push: {
    withoutNumber: oneOf(['refuse', 'pin', 'allow'], {
      standard: 'pin',
      overriddenBy: byApplicationToo,
      about:
        'The app where the sign-in cannot show a number: refused, with the PIN, or by approval alone.',
    }),
  },
  pin: {
    minLength: wholeNumber({
      min: 4,
      max: 16,
      standard: 4,
      unit: 'digits',
      about: 'Shortest PIN that may be chosen.',
    }),
    expiryDays: wholeNumber({
      min: 0,
      max: 3650,
      standard: 0,
      unit: 'days',
      about: 'Age at which a PIN has to be changed; 0: never.',
    }),
    history: wholeNumber({
      min: 0,
      max: 24,
      standard: 5,
      about: 'So many earlier PINs are refused.',
    }),
    refuseWeak: yesOrNo({ standard: true, about: 'Refuses 1111, 1234 and the like.' }),
  },
  bypass: {
    seconds: wholeNumber({
      min: 10,
      max: 86_400,
      standard: 300,
      unit: 'seconds',
      about: 'How long a one-time bypass is good that does not say.',
    }),
  },
  caching: {
    mode: oneOf(['off', 'user', 'user+address', 'user+application+address'], {
      standard: 'off',
      overriddenBy: byApplicationToo,
      about: 'After a success the second step is skipped for a while, for the same of these.',
    }),
    minutes: wholeNumber({
      min: 1,
      max: 1440,
      standard: 60,
      unit: 'minutes',
      overriddenBy: byApplicationToo,
      about: 'How long it is skipped.',
    }),
  },
  trustedIps: {
    ranges: listOf({
      max: 200,
      maxLength: 100,
      allowed: 'addresses, ranges first-last, or subnets like 192.0.2.0/24',
      isValid: (range) => parseAddressRange(range) !== null,
      overriddenBy: byApplicationToo,
      about: 'From these addresses the second step is skipped.',
    }),
  },
  blocks: {
    days: wholeNumber({
      min: 1,
      max: 3650,
      standard: 90,
      unit: 'days',
      about: 'How long a block lasts that does not say.',
    }),
    onFraud: yesOrNo({ standard: true, about: 'Whether somebody who reports fraud is blocked.' }),
  },
  enrolment: {
    windowDays: wholeNumber({
      min: 1,
      max: 90,
      standard: 14,
      unit: 'days',
      about: 'How long an enrolment code is good.',
    }),
  },
  directories: {
    sync: yesOrNo({
      standard: true,
      about: 'Whether directories are synchronised at all; each has its own switch besides.',
    }),
    approvalUsers: wholeNumber({
      min: 1,
      max: 999,
      standard: 5,
      unit: 'users',
      about:
        'More users of one directory than this disabled, removed or given another phone by synchronisation within 24 hours wait for an approval.',
    }),
    approvalPercent: wholeNumber({
      min: 1,
      max: 100,
      standard: 10,
      unit: '%',
      about:
        "The same as a part of the directory's users, where it has more than 50: whichever is exceeded first.",
    }),
    removedDays: wholeNumber({
      min: 1,
      max: 365,
      standard: 30,
      unit: 'days',
      about:
        'How long users that synchronisation removed are kept, with all authenticators, in case they come back.',
    }),
  },
  text: {
    providers: secret({
      allowed: 'providers as a JSON list, each with kind and name (at most 10, 32 KiB)',
      check: checkProviderList,
      summarise: summariseTextProviders,
      about:
        'Who sends text messages, in the order in which they are tried: a JSON list with their secrets in it, set from a file.',
    }),
    defaultCountry: text({
      ...country,
      standard: 'NL',
      about: 'Country of numbers written without one.',
    }),
    countries: listOf({
      ...country,
      max: 250,
      about: 'Countries that texts and calls may go to; empty: the default country alone.',
    }),
  },
  texts: {
    perUserAndHour: wholeNumber({
      min: 1,
      max: 40,
      standard: 5,
      unit: 'texts',
      about: 'Sent to one user in an hour.',
    }),
    perUserAndDay: wholeNumber({
      min: 1,
      max: 40,
      standard: 20,
      unit: 'texts',
      about: 'Sent to one user in a day.',
    }),
    perPrefixAndHour: wholeNumber({
      min: 1,
      max: 1_000_000,
      standard: 200,
      unit: 'texts',
      about: 'Sent by one node in an hour to numbers that differ only in their last four digits.',
    }),
    perNodeAndHour: wholeNumber({
      min: 1,
      max: 1_000_000,
      standard: 2000,
      unit: 'texts',
      about: 'Sent by one node in an hour.',
    }),
  },
  mail: {
    toUsers: yesOrNo({ standard: true, about: 'Whether users are sent any mail.' }),
    pinMails: yesOrNo({ standard: false, about: 'Whether a PIN is mailed to its user.' }),
    administrators: listOf({
      ...mailAddress,
      allowed: 'mail addresses',
      max: 20,
      about: 'Who is told of fraud, lockouts and what waits for approval.',
    }),
    host: text({
      maxLength: 253,
      allowed: 'a name or address, or empty',
      isValid: (host) => /^[A-Za-z0-9.:-]+$/.test(host),
      standard: '',
      about: 'The mail server; empty: no mail is sent.',
    }),
    port: wholeNumber({
      min: 1,
      max: 65_535,
      standard: 587,
      about: 'Port of the mail server.',
    }),
    security: oneOf(['starttls', 'tls', 'plain'], {
      standard: 'starttls',
      about: '`starttls` and `tls` refuse a server without; `plain` encrypts nothing.',
    }),
    trustedCertificates: text({
      isLong: true,
      maxLength: 16_384,
      allowed: 'certificates as PEM, or empty',
      isValid: (pem) => /^\s*-----BEGIN CERTIFICATE-----/.test(pem),
      standard: '',
      about: "Authorities to trust for the mail server's certificate instead of the public ones.",
    }),
    user: text({
      maxLength: 256,
      allowed: 'a name of at most 256 characters, or empty',
      standard: '',
      about: 'Whom to sign in as at the mail server; empty: nobody.',
    }),
    password: secret({
      allowed: 'a password of 1 to 512 characters',
      check: (password) =>
        password.length > 0 && password.length <= 512 && isSafeText(password)
          ? null
          : 'must be a password of 1 to 512 characters',
      sentTo: ['host', 'port', 'security', 'trustedCertificates'],
      about: 'The password to sign in with.',
    }),
    from: text({
      ...mailAddress,
      allowed: 'a mail address, or empty',
      standard: '',
      about: 'The address that mails come from.',
    }),
    fromName: text({
      maxLength: 128,
      allowed: 'a name of at most 128 characters, or empty',
      standard: '',
      about: 'The name beside it; empty: company.name.',
    }),
  },
} satisfies Record<string, Record<string, Setting>>;

/** What a group is about, for its page. */
export const GROUP_TITLES: Record<keyof typeof SETTINGS, string> = {
  company: 'The company',
  lockout: 'Lockout after wrong answers',
  failover: 'Who becomes master',
  certificates: "Certificates by the cluster's CA",
  withoutQuorum: 'While the quorum is away',
  events: 'Events',
  methods: 'Methods',
  push: 'The mobile app',
  pin: 'PINs',
  bypass: 'One-time bypass',
  caching: 'Caching',
  trustedIps: 'Trusted addresses',
  blocks: 'Blocks',
  enrolment: 'Enrolment',
  directories: 'People from directories',
  text: 'Text messages: who sends them, and where to',
  texts: 'Text messages: how many',
  mail: 'Mail',
};

/** What two settings of a group must not be together, after each is right by itself. */
export function checkGroup(
  id: keyof typeof SETTINGS,
  fields: Record<string, unknown>,
): string | null {
  if (id === 'mail' && fields.password !== null && fields.security === 'plain') {
    return 'mail.security: a password needs starttls or tls';
  }
  return null;
}

function isPlainHttpsUrl(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, username, password, search, hash } = new URL(address);
  return protocol === 'https:' && [username, password, search, hash].every((part) => part === '');
}
