import type { AddressPolicy } from '../http/check-address.ts';
import { sendRequest, type HttpAnswer } from '../http/send-request.ts';
import {
  isMessageId,
  type Cost,
  type Sender,
  type SendOutcome,
  type SendResult,
  type TextMessage,
} from '../sender.ts';
import type { TwilioSettings } from '../settings-schema.ts';
import { countSegments } from './count-segments.ts';
import { isE164 } from './is-e164.ts';

/** Sends texts through Twilio's Messages resource, or a service that speaks it. */
export function createTwilioSender(
  settings: TwilioSettings,
  policy: AddressPolicy,
): Sender<TextMessage> {
  const provider = settings.name;
  return {
    name: provider,
    send: async (message, { timeoutMs, signal }) => {
      const problem = findProblem(message);
      if (problem) return { sent: false, provider, outcome: 'refused', reason: problem };
      const answer = await sendRequest(renderRequest(settings, message), {
        policy,
        timeoutMs,
        signal,
        trustedCertificates: settings.trustedCertificates,
      });
      return readAnswer(answer, { settings, text: message.text });
    },
  };
}

function findProblem({ id, to, text }: TextMessage): string | undefined {
  if (!isMessageId(id)) return 'the message has no usable id';
  if (!isE164(to)) return 'the number is not in the form +31612345678';
  if (text.length === 0 || text.length > 1_600) return 'the text is empty or longer than 1,600';
  return undefined;
}

function renderRequest(settings: TwilioSettings, { to, text }: TextMessage) {
  const { accountSid, messagingServiceSid, from, statusCallbackUrl } = settings;
  const form = new URLSearchParams({ To: to, Body: text });
  if (messagingServiceSid) form.set('MessagingServiceSid', messagingServiceSid);
  else form.set('From', from ?? '');
  if (statusCallbackUrl) form.set('StatusCallback', statusCallbackUrl);
  const user = settings.apiKeySid ?? accountSid;
  const credentials = Buffer.from(`${user}:${settings.secret}`).toString('base64');
  return {
    method: 'POST' as const,
    url: new URL(
      `/2010-04-01/Accounts/${encodeURIComponent(accountSid)}/Messages.json`,
      settings.url,
    ),
    headers: {
      authorization: `Basic ${credentials}`,
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    },
    body: form.toString(),
  };
}

// Statuses of a message that ended without having gone out.
const deadStatuses = new Set(['failed', 'undelivered', 'canceled']);

function readAnswer(
  answer: HttpAnswer,
  about: { settings: TwilioSettings; text: string },
): SendResult {
  const provider = about.settings.name;
  const fail = (outcome: SendOutcome, reason: string): SendResult => ({
    sent: false,
    provider,
    outcome,
    reason,
  });
  if (!answer.answered) return fail(answer.wasSent ? 'unknown' : 'failed', answer.reason);
  const { status } = answer;
  const json = parseObject(answer);
  const code = typeof json?.['code'] === 'number' ? `, code ${json['code']}` : '';
  if (status >= 200 && status < 300) {
    const sid = json?.['sid'];
    if (typeof sid !== 'string' || !/^[\w-]{1,64}$/.test(sid)) {
      return fail('unknown', `HTTP ${status} without a message SID`);
    }
    if (deadStatuses.has(String(json?.['status']))) {
      return fail('refused', `the provider gave the message up at once, SID ${sid}`);
    }
    return { sent: true, provider, providerId: sid, cost: readCost(json ?? {}, about) };
  }
  return fail(isAboutTheMessage(status) ? 'refused' : 'failed', `HTTP ${status}${code}`);
}

// 401, 403, 404, 429 and the like are about the account or the moment, not about this message.
const isAboutTheMessage = (status: number) => status === 400 || status === 422;

function readCost(
  json: Record<string, unknown>,
  { settings, text }: { settings: TwilioSettings; text: string },
): Cost {
  const counted = Number(json['num_segments']);
  const isCount = Number.isInteger(counted) && counted > 0 && counted <= 20;
  const segments = isCount ? counted : countSegments(text).segments;
  const { price, price_unit: unit } = json;
  // Twilio writes what it charges as a negative number, and often only knows it later.
  const amount = typeof price === 'string' ? Math.abs(Number(price)) : Number.NaN;
  if (Number.isFinite(amount) && typeof unit === 'string' && /^[A-Za-z]{3}$/.test(unit)) {
    return { segments, amount, currency: unit.toUpperCase() };
  }
  return estimateCost(segments, settings.costPerSegment);
}

/** From the price in the settings, where there is one. */
export function estimateCost(
  segments: number,
  price: { amount: number; currency: string } | undefined,
): Cost {
  if (!price) return { segments };
  return { segments, amount: segments * price.amount, currency: price.currency };
}

function parseObject(answer: {
  body: string;
  isWhole: boolean;
}): Record<string, unknown> | undefined {
  if (!answer.isWhole) return undefined;
  try {
    const value: unknown = JSON.parse(answer.body);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
