import type { VerificationOutcome } from '@countersign/api';

type Question = Pick<
  Extract<VerificationOutcome, { kind: 'challenge' }>,
  'method' | 'mode' | 'sentTo' | 'others'
>;

type Texts = {
  denied: string;
  codeBehindComma: string;
  codeBehind: string;
  protocol(name: string): string;
  /** By what is asked, and whether the PIN belongs to it. */
  oath: readonly [string, string];
  text(sentTo: string): readonly [string, string];
  /** What may be typed in place of the code. */
  others: Record<'oath' | 'text' | 'app' | 'call', string>;
};

const en: Texts = {
  denied: 'Sign-in denied.',
  codeBehindComma: 'Type your code behind your password, after a comma.',
  codeBehind: 'Type your code right behind your password.',
  protocol: (name) => `Sign-in by ${name} is not supported here. Use PAP.`,
  oath: [
    'Type the code of your authenticator.',
    'Type the code of your authenticator and your PIN.',
  ],
  text: (sentTo) => [
    `Type the code that was sent to ${sentTo}.`,
    `Type the code that was sent to ${sentTo}, and your PIN.`,
  ],
  others: {
    oath: 'Or type 1 to use your authenticator.',
    text: 'Or type 2 for a text message.',
    app: 'Or type 3 to be asked in the app.',
    call: 'Or type 4 to be called.',
  },
};

const nl: Texts = {
  denied: 'Aanmelden geweigerd.',
  codeBehindComma: 'Typ uw code achter uw wachtwoord, na een komma.',
  codeBehind: 'Typ uw code direct achter uw wachtwoord.',
  protocol: (name) => `Aanmelden met ${name} kan hier niet. Gebruik PAP.`,
  oath: ['Typ de code van uw authenticator.', 'Typ de code van uw authenticator en uw pincode.'],
  text: (sentTo) => [
    `Typ de code die naar ${sentTo} is gestuurd.`,
    `Typ de code die naar ${sentTo} is gestuurd, en uw pincode.`,
  ],
  others: {
    oath: 'Of typ 1 om uw authenticator te gebruiken.',
    text: 'Of typ 2 voor een sms-bericht.',
    app: 'Of typ 3 voor een vraag in de app.',
    call: 'Of typ 4 om gebeld te worden.',
  },
};

/** What is typed for it; a code is never that short. */
export const METHOD_NUMBERS = { '1': 'oath', '2': 'text', '3': 'app', '4': 'call' } as const;

/** Reply-Messages in a language; English where there is no such language. */
export function replyTexts(language: string): Texts & { question(asked: Question): string } {
  const texts = language === 'nl' ? nl : en;
  return { ...texts, question: (asked) => describeQuestion(texts, asked) };
}

function describeQuestion(texts: Texts, { method, mode, sentTo, others = [] }: Question): string {
  const forms = method === 'text' ? texts.text(sentTo ?? '') : texts.oath;
  const main = forms[mode.endsWith('+pin') ? 1 : 0];
  const choices = others.map((other) => (other === 'passkey' ? '' : texts.others[other]));
  return [main, ...choices.filter((text) => text !== '')].join(' ');
}
