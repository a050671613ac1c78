/** `+` and 8 to 15 digits, not beginning with 0 (ITU-T E.164). */
export function isE164(number: string): boolean {
  return /^\+[1-9][0-9]{7,14}$/.test(number);
}
