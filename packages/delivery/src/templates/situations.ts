/** How a value comes in, and by its kind is made fit for a message; see `render.ts`. */
interface ValueKinds {
  name: string;
  code: string;
  number: number;
  link: string;
  time: Date;
}

export type ValueKind = keyof ValueKinds;

/** Every placeholder there is. */
export const placeholderKinds = {
  application_name: 'name',
  company_name: 'name',
  user_name: 'name',
  code: 'code',
  pin: 'code',
  enrolment_code: 'code',
  expiry_minutes: 'number',
  phone_ending: 'code',
  method_name: 'name',
  authenticator_name: 'name',
  when: 'time',
  expires: 'time',
  link: 'link',
  not_me_link: 'link',
  reason: 'name',
  server_name: 'name',
  directory_name: 'name',
  count: 'number',
  limit: 'number',
  budget_name: 'name',
} as const satisfies Record<string, ValueKind>;

export type Placeholder = keyof typeof placeholderKinds;

/** A line with an optional placeholder that has no value is left out. */
export interface Situation {
  required: readonly Placeholder[];
  optional: readonly Placeholder[];
}

const everyMail = ['company_name', 'user_name'] as const;
const changed = {
  required: [...everyMail, 'when'],
  optional: ['not_me_link', 'authenticator_name', 'method_name', 'phone_ending'],
} as const;
const enrolled = { required: everyMail, optional: ['link'] } as const;

export const mailSituations = {
  /** To the user. */
  phonesImported: { required: [...everyMail, 'phone_ending'], optional: ['link'] },
  completeEnrolment: { required: [...everyMail, 'link', 'expires'], optional: ['enrolment_code'] },
  enrolmentCode: { required: [...everyMail, 'enrolment_code', 'expires'], optional: ['link'] },
  enrolledForCall: { required: [...everyMail, 'phone_ending'], optional: ['link'] },
  enrolledForText: { required: [...everyMail, 'phone_ending'], optional: ['link'] },
  enrolledForApp: enrolled,
  enrolledForToken: { required: everyMail, optional: ['link', 'authenticator_name'] },
  /** Only where PIN mails are on. */
  initialPin: { required: [...everyMail, 'pin'], optional: ['link'] },
  authenticatorAdded: changed,
  authenticatorRemoved: changed,
  phoneChanged: changed,
  pinChanged: changed,
  methodChanged: changed,
  /** To administrators. */
  fraudReported: {
    required: [...everyMail, 'when'],
    optional: ['method_name', 'application_name', 'server_name', 'link'],
  },
  userLockedOut: {
    required: [...everyMail, 'when'],
    optional: ['reason', 'application_name', 'server_name', 'link'],
  },
  administratorRecovered: {
    required: [...everyMail, 'when'],
    optional: ['server_name', 'link'],
  },
  approvalNeeded: {
    required: ['company_name', 'directory_name', 'count', 'limit', 'when'],
    optional: ['link'],
  },
  textBudgetAlarm: {
    required: ['company_name', 'budget_name', 'limit', 'when'],
    optional: ['server_name', 'link'],
  },
  testMail: { required: ['company_name', 'when'], optional: ['server_name'] },
} as const satisfies Record<string, Situation>;

const everyText = ['application_name', 'code', 'company_name', 'expiry_minutes'] as const;

export const textSituations = {
  oneTimeCode: { required: everyText, optional: [] },
  /** The user answers with the code followed by the PIN. */
  oneTimeCodeAndPin: { required: everyText, optional: [] },
  /** The user sends the code back by text. */
  replyWithCode: { required: everyText, optional: [] },
  replyWithCodeAndPin: { required: everyText, optional: [] },
  /** To the number that another one will replace. */
  phoneReplaced: { required: ['company_name', 'phone_ending'], optional: [] },
} as const satisfies Record<string, Situation>;

export type MailSituation = keyof typeof mailSituations;
export type TextSituation = keyof typeof textSituations;

/** Every value a situation requires, and those it can have. */
export type ValuesOf<S extends Situation> = {
  [P in S['required'][number]]: ValueKinds[(typeof placeholderKinds)[P]];
} & {
  [P in S['optional'][number]]?: ValueKinds[(typeof placeholderKinds)[P]] | undefined;
};

export interface MailTemplate {
  subject: string;
  body: string;
}

/** All a language says; one file of `languages/` each. */
export interface Language {
  /** BCP 47, such as `en`: the name of its file. */
  code: string;
  /** What it calls itself. */
  name: string;
  /** BCP 47, for dates: `en-GB`. */
  locale: string;
  mails: Record<MailSituation, MailTemplate>;
  texts: Record<TextSituation, string>;
}
