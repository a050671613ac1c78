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
] as const;

export type DenialReason = (typeof DENIAL_REASONS)[number];

export type Verdict = { approved: true } | { approved: false; reason: DenialReason };
