/** How a second step can be done, in the words of the settings, the API and the CLI. */
export const METHODS = ['oath', 'text', 'call', 'app', 'passkey'] as const;
export type Method = (typeof METHODS)[number];

/** How each can be done, where there is a choice. */
export const MODES = {
  oath: ['code', 'code+pin'],
  text: ['otp', 'otp+pin'],
  call: ['standard', 'pin'],
  app: ['approve', 'pin', 'number'],
} as const;

/** What stands in for a user's method. Nobody has one of these as the method of every day. */
export const STAND_INS = ['recovery', 'questions'] as const;
export type StandIn = (typeof STAND_INS)[number];

/** Where somebody signs in. */
export const FRONT_DOORS = ['http', 'web', 'pap', 'pap-challenge', 'mschapv2', 'ldap'] as const;
export type FrontDoor = (typeof FRONT_DOORS)[number];

/** Whose failures are counted, and who is locked out: what somebody has, knows, and proves to a directory. */
export const FACTORS = ['code', 'pin', 'password'] as const;
export type Factor = (typeof FACTORS)[number];

export type MethodRow = {
  method: Method | StandIn;
  mode: string;
  /** What happens when it begins, outside this server. */
  begins: 'nothing' | 'sends a text' | 'rings' | 'pushes';
  /** What the person types where they sign in. */
  asks: readonly ('code' | 'pin' | 'assertion' | 'answers')[];
  /** What the person does elsewhere: then the verification waits, and asks nothing more. */
  waitsFor: readonly (
    | 'key press'
    | 'pin on the phone'
    | 'approval'
    | 'number'
    | 'pin in the app'
  )[];
  accepts: string;
  /** Whose count a wrong answer of each kind raises. */
  costs: Partial<Record<'code' | 'pin' | 'assertion' | 'answers', Factor>>;
  doors: readonly FrontDoor[];
};

const EVERY_DOOR = FRONT_DOORS;
const TYPED_AFTERWARDS = ['http', 'web', 'pap-challenge'] as const;
const TYPED_WITH_PASSWORD = ['http', 'web', 'pap', 'pap-challenge', 'ldap'] as const;
const BROWSER = ['http', 'web'] as const;

/** Method by mode: what it asks, what it accepts, what a failure costs, and at which front doors it works. */
export const METHOD_TABLE: readonly MethodRow[] = [
  {
    method: 'oath',
    mode: 'code',
    begins: 'nothing',
    asks: ['code'],
    waitsFor: [],
    accepts: 'a code of one of the tokens, once',
    costs: { code: 'code' },
    doors: TYPED_WITH_PASSWORD,
  },
  {
    method: 'oath',
    mode: 'code+pin',
    begins: 'nothing',
    asks: ['code', 'pin'],
    waitsFor: [],
    accepts: 'a code of one of the tokens, once, together with the PIN',
    costs: { code: 'code', pin: 'pin' },
    doors: TYPED_AFTERWARDS,
  },
  {
    method: 'text',
    mode: 'otp',
    begins: 'sends a text',
    asks: ['code'],
    waitsFor: [],
    accepts: 'the code that was sent, in this verification, once',
    costs: { code: 'code' },
    doors: TYPED_AFTERWARDS,
  },
  {
    method: 'text',
    mode: 'otp+pin',
    begins: 'sends a text',
    asks: ['code', 'pin'],
    waitsFor: [],
    accepts: 'the code that was sent, in this verification, once, together with the PIN',
    costs: { code: 'code', pin: 'pin' },
    doors: TYPED_AFTERWARDS,
  },
  {
    method: 'call',
    mode: 'standard',
    begins: 'rings',
    asks: [],
    waitsFor: ['key press'],
    accepts: '# pressed during the call',
    costs: {},
    doors: EVERY_DOOR,
  },
  {
    method: 'call',
    mode: 'pin',
    begins: 'rings',
    asks: [],
    waitsFor: ['pin on the phone'],
    accepts: 'the PIN and # during the call',
    costs: { pin: 'pin' },
    doors: EVERY_DOOR,
  },
  {
    method: 'app',
    mode: 'approve',
    begins: 'pushes',
    asks: [],
    waitsFor: ['approval'],
    accepts:
      'an approval signed by the device; only where the application allows it without a number',
    costs: {},
    doors: EVERY_DOOR,
  },
  {
    method: 'app',
    mode: 'pin',
    begins: 'pushes',
    asks: [],
    waitsFor: ['approval', 'pin in the app'],
    accepts: 'an approval signed by the device, together with the PIN',
    costs: { pin: 'pin' },
    doors: EVERY_DOOR,
  },
  {
    method: 'app',
    mode: 'number',
    begins: 'pushes',
    asks: [],
    waitsFor: ['number'],
    accepts: 'an approval signed by the device with the number shown where the person signs in',
    costs: { code: 'code' },
    doors: TYPED_AFTERWARDS,
  },
  {
    method: 'passkey',
    mode: 'assertion',
    begins: 'nothing',
    asks: ['assertion'],
    waitsFor: [],
    accepts: 'a WebAuthn assertion of a registered passkey, once',
    costs: { assertion: 'code' },
    doors: BROWSER,
  },
  {
    method: 'recovery',
    mode: 'code',
    begins: 'nothing',
    asks: ['code'],
    waitsFor: [],
    accepts: 'one of the recovery codes, once',
    costs: { code: 'code' },
    doors: TYPED_WITH_PASSWORD,
  },
  {
    method: 'questions',
    mode: 'answers',
    begins: 'nothing',
    asks: ['answers'],
    waitsFor: [],
    accepts: 'as many right answers as the settings ask for; never enough to change anything',
    costs: { answers: 'code' },
    doors: BROWSER,
  },
];

/** @throws RangeError for a mode that the method does not have */
export function methodRow(method: Method | StandIn, mode: string): MethodRow {
  const row = METHOD_TABLE.find((one) => one.method === method && one.mode === mode);
  if (!row) throw new RangeError(`${method} has no mode ${mode}`);
  return row;
}

export function asksPin(row: MethodRow): boolean {
  return row.asks.includes('pin');
}
