import type { VerificationOutcome } from '@countersign/api';
import type { Method } from '@countersign/verification';

type Question = Pick<
  Extract<VerificationOutcome, { kind: 'challenge' }>,
  'method' | 'mode' | 'sentTo' | 'others'
>;

type Texts = {
  denied: string;
  codeBehindComma: string;
  codeBehind: string;
  changePin: string;
  protocol(name: string): string;
  oath: string;
  text(sentTo: string): string;
  /** With the PIN as well. */
  withPin(question: string): string;
  /** What may be typed in place of the code. */
  others: Record<'oath' | 'text' | 'app' | 'call', string>;
};

const en: Texts = {
  denied: 'Sign-in denied.',
  codeBehindComma: 'Enter your password, a comma and your code in one go: password,123456',
  codeBehind: 'Enter your password and your code right behind it: password123456',
  changePin: 'Change your PIN first, then sign in again.',
  protocol: (name) => `Sign-in by ${name} is not supported here. Use PAP.`,
  oath: 'Enter the code from your authenticator',
  text: (sentTo) => `Enter the code that was sent to ${sentTo}`,
  withPin: (question) => `${question} and your PIN right behind it`,
  others: {
    oath: 'or type 1 to use your authenticator',
    text: 'or type 2 to get a text message',
    app: 'or type 3 to be asked in the app',
    call: 'or type 4 to be called',
  },
};

const nl: Texts = {
  denied: 'Aanmelden geweigerd.',
  codeBehindComma: 'Voer uw wachtwoord, een komma en uw code in één keer in: wachtwoord,123456',
  codeBehind: 'Voer uw wachtwoord in met uw code er direct achter: wachtwoord123456',
  changePin: 'Wijzig eerst uw pincode en meld u dan opnieuw aan.',
  protocol: (name) => `Aanmelden met ${name} kan hier niet. Gebruik PAP.`,
  oath: 'Voer de code van uw authenticator in',
  text: (sentTo) => `Voer de code in die naar ${sentTo} is gestuurd`,
  withPin: (question) => `${question}, met uw pincode er direct achter`,
  others: {
    oath: 'of typ 1 om uw authenticator te gebruiken',
    text: 'of typ 2 voor een sms-bericht',
    app: 'of typ 3 voor een vraag in de app',
    call: 'of typ 4 om gebeld te worden',
  },
};

/** What is typed for it; a code is never that short. */
export const METHOD_NUMBERS: ReadonlyMap<string, Method> = new Map([
  ['1', 'oath'],
  ['2', 'text'],
  ['3', 'app'],
  ['4', 'call'],
]);

/** Reply-Messages in a language; English where there is no such language. */
export function replyTexts(language: string): Texts & { question(asked: Question): string } {
  const texts = language === 'nl' ? nl : en;
  return { ...texts, question: (asked) => describeQuestion(texts, asked) };
}

/** One sentence: devices show it in one line, and cut it off where that ends. */
function describeQuestion(texts: Texts, { method, mode, sentTo, others = [] }: Question): string {
  const plain = method === 'text' ? texts.text(sentTo ?? '') : texts.oath;
  const main = mode.endsWith('+pin') ? texts.withPin(plain) : plain;
  const choices = others.flatMap((other) => (other === 'passkey' ? [] : [texts.others[other]]));
  return `${[main, ...choices].join(', ')}.`;
}
