import { Readable } from 'node:stream';

import MailComposer from 'nodemailer/lib/mail-composer';
import SMTPConnection from 'nodemailer/lib/smtp-connection';

import { cleanLine } from '../clean-text.ts';
import { isMessageId, type MailMessage, type Sender, type SendResult } from '../sender.ts';
import type { SmtpSettings } from '../settings-schema.ts';
import { readMailAddress } from './mail-address.ts';

/**
 * Sends mails over SMTP, a connection for each. A server that fell silent after it had the whole
 * mail gives `unknown`: only then may a mail that was not reported as sent have arrived. Its
 * Message-ID is made of the mail's id, so that a second copy can be told from a second mail.
 */
export function createSmtpSender(settings: SmtpSettings): Sender<MailMessage> {
  const provider = settings.name;
  return {
    name: provider,
    send: async (mail, { timeoutMs, signal }) => {
      const to = readMailAddress(mail.to);
      const problem = findProblem(mail, to);
      if (problem || !to) {
        return { sent: false, provider, outcome: 'refused', reason: problem ?? 'no address' };
      }
      const raw = await compose(settings, mail, to);
      return await transmit(settings, {
        to,
        raw,
        timeoutMs,
        signal,
        messageId: idOf(settings, mail),
      });
    },
  };
}

const maxTextChars = 64 * 1024;

function findProblem(mail: MailMessage, to: string | undefined): string | undefined {
  if (!isMessageId(mail.id)) return 'the mail has no usable id';
  if (!to) return 'the mail address is not one';
  if (mail.text.length > maxTextChars) return 'the mail is longer than 64 KiB';
  return undefined;
}

const idOf = ({ from }: SmtpSettings, { id }: MailMessage) =>
  `<${id}@${from.slice(from.lastIndexOf('@') + 1)}>`;

function compose(settings: SmtpSettings, mail: MailMessage, to: string): Promise<Buffer> {
  const composer = new MailComposer({
    from: { name: cleanLine(settings.fromName, 128), address: settings.from },
    to: { name: '', address: to },
    subject: cleanLine(mail.subject, 256),
    text: mail.text,
    messageId: idOf(settings, mail),
    headers: {
      // RFC 3834: no out-of-office notes, please.
      'Auto-Submitted': 'auto-generated',
      'X-Auto-Response-Suppress': 'All',
    },
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return composer.compile().build();
}

interface Transmission {
  to: string;
  raw: Buffer;
  messageId: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

function transmit(settings: SmtpSettings, mail: Transmission): Promise<SendResult> {
  const { promise, resolve } = Promise.withResolvers<SendResult>();
  const provider = settings.name;
  const connection = openConnection(settings, mail.timeoutMs);
  let hasLeftUs = false;
  let isOver = false;
  const finish = (result: SendResult) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    mail.signal?.removeEventListener('abort', giveUp);
    // A goodbye is polite where the conversation was in order; nobody waits for its answer.
    if (result.sent) connection.quit();
    else connection.close();
    resolve(result);
  };
  const fail = (error: SmtpFailure) =>
    finish({ sent: false, provider, ...judgeFailure(error, hasLeftUs) });
  const giveUp = () => fail({ code: 'ETIMEDOUT' });
  const timer = setTimeout(giveUp, mail.timeoutMs);
  mail.signal?.addEventListener('abort', giveUp, { once: true });

  const send = () => {
    const envelope = { from: settings.from, to: [mail.to], size: mail.raw.length };
    const body = Readable.from(
      (function* () {
        yield mail.raw;
        // Asked for more: the server has taken DATA, and the end of the mail is on its way.
        hasLeftUs = true;
      })(),
    );
    connection.send(envelope, body, (error) => {
      if (error) return fail(error);
      finish({ sent: true, provider, providerId: mail.messageId });
    });
  };
  connection.on('error', fail);
  connection.once('end', () => fail({ code: 'ECONNECTION' }));
  if (mail.signal?.aborted) {
    giveUp();
    return promise;
  }
  connection.connect((error) => {
    if (error) return fail(error);
    const { user, password } = settings;
    if (user === undefined) return send();
    connection.login({ user, pass: password ?? '' }, (refused) =>
      refused ? fail(refused) : send(),
    );
  });
  return promise;
}

function openConnection(settings: SmtpSettings, timeoutMs: number): SMTPConnection {
  const { host, port, security, trustedCertificates } = settings;
  return new SMTPConnection({
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'plain',
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    dnsTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    socketCloseTimeout: 1_000,
    maxResponseSize: 16 * 1024,
    name: settings.helloName,
    tls: {
      minVersion: 'TLSv1.2',
      ...(trustedCertificates !== undefined && { ca: trustedCertificates }),
    },
  });
}

interface SmtpFailure {
  code?: string | number | undefined;
  command?: string | undefined;
  response?: string | undefined;
  responseCode?: number | undefined;
}

function judgeFailure(
  error: SmtpFailure,
  hasLeftUs: boolean,
): { outcome: 'refused' | 'failed' | 'unknown'; reason: string } {
  const { code, command = '', response = '', responseCode = 0 } = error;
  // Only the digits: a server's words may repeat the mail's.
  const [digits = ''] = /^\d{3}(?:[ -]\d\.\d{1,3}\.\d{1,3})?/.exec(response) ?? [];
  const isAnswer = (code === 'EMESSAGE' || code === 'EENVELOPE') && responseCode >= 400;
  if (isAnswer) {
    const reason = `the mail server answered ${digits} to ${command}`;
    return { outcome: responseCode >= 500 ? 'refused' : 'failed', reason };
  }
  const what = `${String(code ?? 'error')}${digits && `, ${digits}`}`;
  return hasLeftUs
    ? { outcome: 'unknown', reason: `the mail was handed over and no answer came (${what})` }
    : { outcome: 'failed', reason: `the mail server could not be used (${what})` };
}
