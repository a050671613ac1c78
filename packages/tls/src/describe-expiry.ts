const DAY_MS = 24 * 60 * 60 * 1000;
const LONG_LIFE_MS = 90 * DAY_MS;

/** `own`: the operator's; `renewed`: the cluster does that by itself. */
export type CertificateKind = 'own' | 'renewed' | 'authority';

const WARN_MS = { own: 30 * DAY_MS, renewed: Infinity, authority: 365 * DAY_MS };

/**
 * That a certificate does not count yet, or when it ends, in a line, once it is time to act; null before. Of an authority that is a year before its
 * end, of one's own 30 days; of one that lives for 90 days or less, and of one that the cluster renews, when a quarter
 * of its life is left, because then it should have been renewed. All are a week and more for what lives four weeks.
 */
export function describeExpiry(
  certificate: { validFromDate: Date; validToDate: Date },
  kind: CertificateKind,
  now: Date,
): string | null {
  const { validFromDate, validToDate } = certificate;
  const lifeMs = validToDate.getTime() - validFromDate.getTime();
  const warnMs = Math.min(lifeMs / 4, lifeMs > LONG_LIFE_MS ? WARN_MS[kind] : Infinity);
  const leftMs = validToDate.getTime() - now.getTime();
  if (validFromDate > now) return `does not count yet (before ${inUtc(validFromDate)})`;
  if (leftMs <= 0) return `has expired (${inUtc(validToDate)})`;
  if (leftMs > warnMs) return null;
  return `expires in ${inDaysOrHours(leftMs)} (${inUtc(validToDate)})`;
}

function inUtc(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function inDaysOrHours(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  if (days >= 2) return `${days} days`;
  const hours = Math.floor(ms / (DAY_MS / 24));
  return hours >= 2 ? `${hours} hours` : 'less than 2 hours';
}
