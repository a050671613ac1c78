import {
  createSmtpSender,
  smtpSettings,
  type MailMessage,
  type Sender,
} from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { openSetting } from '@countersign/operations';
import type { Settings } from '@countersign/verification';

export type MailSender =
  | { kind: 'sender'; sender: Sender<MailMessage> }
  | { kind: 'off' }
  /** What the settings lack, in words that tell no secret. */
  | { kind: 'unusable'; problem: string };

/** The mail server that the settings name. Each mail has a connection of its own, so this costs nothing to make. */
export function mailSenderOf(settings: Settings, seedKey: PurposeKey): MailSender {
  const { host, port, security, trustedCertificates, user, from, fromName } = settings.mail;
  if (host === '') return { kind: 'off' };
  let password: string | null;
  try {
    password = openSetting(seedKey, settings, 'mail.password');
  } catch {
    return { kind: 'unusable', problem: 'mail.password does not open: set it again' };
  }
  const parsed = smtpSettings.safeParse({
    kind: 'smtp',
    name: 'smtp',
    host,
    port,
    security,
    from,
    fromName: fromName === '' ? settings.company.name : fromName,
    ...(user !== '' && { user }),
    ...(password !== null && { password }),
    ...(trustedCertificates !== '' && { trustedCertificates }),
  });
  if (parsed.success) return { kind: 'sender', sender: createSmtpSender(parsed.data) };
  const problems = parsed.error.issues.map(
    ({ path, message }) => `mail.${path.map(String).join('.') || 'user'}: ${message}`,
  );
  return { kind: 'unusable', problem: problems.slice(0, 3).join('; ') };
}
