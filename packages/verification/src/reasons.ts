/** Why an attempt is denied. Words strangers never see: they get one text for all of them. */
export const DENIAL_REASONS = [
  'wrong_code',
  'replayed',
  'locked_out',
  'blocked',
  'unknown_user',
  'busy',
  'disabled',
  'expired',
  'no_method',
  'no_quorum',
  /** A right code of a counter that may have been used elsewhere: the next one proves the token. */
  'resync',
] as const;

export type DenialReason = (typeof DENIAL_REASONS)[number];

export type Verdict = { approved: true } | { approved: false; reason: DenialReason };
