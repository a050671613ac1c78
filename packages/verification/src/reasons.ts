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
  'wrong_pin',
  /** The PIN is missing where the mode asks for one, or none was ever set. */
  'pin_required',
  /** Everything was right, but the PIN has to be changed first: it was set by somebody else, or is too old. */
  'pin_change_required',
  /** The first factor, as the directory judged it, or did not. */
  'wrong_password',
  'password_locked',
  'password_expired',
  'must_change_password',
  'account_disabled',
  'account_locked',
  'account_expired',
  'account_not_now',
  'no_directory',
  'directory_unavailable',
  /** The RADIUS server that was to judge the first factor. */
  'target_unavailable',
  /** It wanted to ask more than a password. */
  'target_challenge',
  'too_many_texts',
  /** Somebody is asked on a phone by as many sign-ins as may wait at once, or was too often in an hour. */
  'too_many_waiting',
  /** Answered with no, such as on a phone. */
  'declined',
  /** Whoever asked does not wait for the answer any more. */
  'abandoned',
  /** What was to be sent or rung went nowhere. */
  'not_delivered',
  'no_method_for_protocol',
  'application_disabled',
  /** A right answer to a question that was answered before, or wrongly three times. */
  'challenge_spent',
  'challenge_damaged',
  'challenge_user',
  'challenge_application',
  'challenge_client',
  'challenge_front_door',
  'challenge_purpose',
  'challenge_incarnation',
] as const;

export type DenialReason = (typeof DENIAL_REASONS)[number];

/** Why a verification is approved without a second step. Always audited. */
export type Skip = 'exempt' | 'trusted_ip' | 'cached' | 'bypass' | 'user_match_off';

export type Verdict =
  | { approved: true; skipped?: Skip }
  | { approved: false; reason: DenialReason };
