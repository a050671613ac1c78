import { createSmtpSender, type MailMessage, type Sender } from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { mailServerOf } from '@countersign/operations';
import type { Settings } from '@countersign/verification';

export type MailSender =
  | { kind: 'sender'; sender: Sender<MailMessage> }
  | { kind: 'off' }
  /** What the settings lack, in words that tell no secret. */
  | { kind: 'unusable'; problem: string };

/** The mail server that the settings name. Each mail has a connection of its own, so this costs nothing to make. */
export function mailSenderOf(settings: Settings, seedKey: PurposeKey): MailSender {
  const { host, user, from } = settings.mail;
  if (host === '') return { kind: 'off' };
  const unusable = (problem: string): MailSender => ({ kind: 'unusable', problem });
  if (from === '') return unusable('mail.from is not set');
  try {
    const server = mailServerOf(seedKey, settings);
    if (server) return { kind: 'sender', sender: createSmtpSender(server) };
    return unusable(`mail.user is ${user}, and mail.password is not set`);
  } catch (error) {
    const name = error instanceof Error ? error.name : 'error';
    return unusable(`the settings for mail do not fit together (${name}): set them again`);
  }
}
