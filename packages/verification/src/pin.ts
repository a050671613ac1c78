import type { UserDocument } from './documents.ts';
import type { Settings } from './settings.ts';

type Pin = NonNullable<UserDocument['pin']>;

const DAY_MS = 86_400_000;
const PIN_MAX_LENGTH = 16;

/** Why a PIN may not be chosen; null: it may. Whether it was used before is compared by its hash, elsewhere. */
export function checkNewPin(pin: string, settings: Settings['pin']): string | null {
  if (!/^\d+$/.test(pin)) return 'a PIN has digits only';
  if (pin.length < settings.minLength) return `a PIN has at least ${settings.minLength} digits`;
  if (pin.length > PIN_MAX_LENGTH) return `a PIN has at most ${PIN_MAX_LENGTH} digits`;
  if (settings.refuseWeak && isWeakPin(pin)) return 'this PIN is too easy to guess';
  return null;
}

/**
 * One digit over and over, a run up or down the keypad's digits, a short group repeated, or a year: the PINs that
 * guessers try first.
 */
export function isWeakPin(pin: string): boolean {
  const digits = Array.from(pin, Number);
  const steps = digits.slice(1).map((digit, index) => (digit - digits[index]! + 10) % 10);
  const isRun =
    steps.length > 0 && steps.every((step) => step === steps[0]) && [0, 1, 9].includes(steps[0]!);
  return isRun || isRepeated(pin) || /^(19|20)\d\d$/.test(pin);
}

function isRepeated(pin: string): boolean {
  for (let length = 1; length <= pin.length / 2; length += 1) {
    if (pin.length % length === 0 && pin === pin.slice(0, length).repeat(pin.length / length))
      return true;
  }
  return false;
}

/** Whether everything but a new PIN is in order: somebody else set it, or it is too old. */
export function mustChangePin(pin: Pin, settings: Settings['pin'], nowMs: number): boolean {
  if (pin.mustChange) return true;
  return settings.expiryDays > 0 && nowMs - Date.parse(pin.setAt) >= settings.expiryDays * DAY_MS;
}
