import type { AddressPolicy } from '../http/check-address.ts';
import { sendRequest, type HttpAnswer, type OutgoingRequest } from '../http/send-request.ts';
import { fillPlaceholders } from '../placeholders.ts';
import {
  isMessageId,
  type Sender,
  type SendOutcome,
  type SendResult,
  type TextMessage,
} from '../sender.ts';
import type { GenericHttpSettings, JsonTemplate } from '../settings-schema.ts';
import { countSegments } from './count-segments.ts';
import { isE164 } from './is-e164.ts';
import { matchBody } from './match-body.ts';
import { estimateCost } from './twilio.ts';

/**
 * Sends texts through any gateway that takes one HTTP request: what the settings' templates say,
 * each value encoded for its place. Scheme and host come from the settings alone.
 */
export function createGenericHttpSender(
  settings: GenericHttpSettings,
  policy: AddressPolicy,
): Sender<TextMessage> {
  const provider = settings.name;
  return {
    name: provider,
    send: async (message, { timeoutMs, signal }) => {
      const rendered = renderRequest(settings, message);
      if ('problem' in rendered) {
        return { sent: false, provider, outcome: 'refused', reason: rendered.problem };
      }
      const { trustedCertificates } = settings;
      const limits = { policy, timeoutMs, signal, trustedCertificates };
      return readAnswer(await sendRequest(rendered, limits), { settings, text: message.text });
    },
  };
}

function renderRequest(
  settings: GenericHttpSettings,
  message: TextMessage,
): OutgoingRequest | { problem: string } {
  const { id, to, text } = message;
  if (!isMessageId(id)) return { problem: 'the message has no usable id' };
  if (!isE164(to)) return { problem: 'the number is not in the form +31612345678' };
  if (text.length === 0 || text.length > 1_600 || !text.isWellFormed()) {
    return { problem: 'the text is empty, longer than 1,600 or broken' };
  }
  const secrets = Object.entries(settings.secrets).map(([name, value]) => [
    `secret.${name}`,
    value,
  ]);
  const values: Record<string, string> = {
    id,
    to,
    to_digits: to.slice(1),
    text,
    ...Object.fromEntries(secrets),
  };
  const fill = (template: string) => fillPlaceholders(template, values);

  const path = fillPlaceholders(settings.path, values, encodeURIComponent);
  const url = new URL(settings.url);
  url.pathname = path;
  // A value that is `..` would have walked to another path.
  if (url.pathname !== path) return { problem: 'a value cannot stand in the path' };
  for (const [name, template] of Object.entries(settings.query)) {
    url.searchParams.append(name, fill(template));
  }
  const headers: Record<string, string> = {};
  for (const [name, template] of Object.entries(settings.headers)) {
    const value = fill(template);
    if (!/^[\x20-\x7e]*$/.test(value)) return { problem: `a value cannot stand in header ${name}` };
    headers[name.toLowerCase()] = value;
  }
  const { type, body } = renderBody(settings, fill);
  if (type) headers['content-type'] ??= type;
  return { method: settings.method, url, headers, ...(body !== undefined && { body }) };
}

function renderBody(
  { body }: GenericHttpSettings,
  fill: (template: string) => string,
): { type?: string; body?: string } {
  if (body?.kind === 'form') {
    const fields = Object.entries(body.fields).map(([name, value]) => [name, fill(value)] as const);
    const type = 'application/x-www-form-urlencoded';
    return { type, body: new URLSearchParams(Object.fromEntries(fields)).toString() };
  }
  if (body?.kind === 'json') {
    return { type: 'application/json', body: JSON.stringify(fillJson(body.value, fill)) };
  }
  return {};
}

/** Only strings are templates; JSON.stringify then writes every value as what it is. */
function fillJson(value: JsonTemplate, fill: (template: string) => string): JsonTemplate {
  if (typeof value === 'string') return fill(value);
  if (Array.isArray(value)) return value.map((item) => fillJson(item, fill));
  if (typeof value !== 'object' || value === null) return value;
  const filled = Object.entries(value).map(([name, item]) => [name, fillJson(item, fill)] as const);
  return Object.fromEntries(filled);
}

function readAnswer(
  answer: HttpAnswer,
  about: { settings: GenericHttpSettings; text: string },
): SendResult {
  const { settings, text } = about;
  const provider = settings.name;
  const fail = (outcome: SendOutcome, reason: string): SendResult => ({
    sent: false,
    provider,
    outcome,
    reason,
  });
  if (!answer.answered) return fail(answer.wasSent ? 'unknown' : 'failed', answer.reason);
  const { status, body } = answer;
  const { statusFrom, statusTo, bodyIncludes, bodyMatches } = settings.success;
  if (status < statusFrom || status > statusTo) {
    return fail(status === 400 || status === 422 ? 'refused' : 'failed', `HTTP ${status}`);
  }
  const groups = bodyMatches === undefined ? {} : matchBody(bodyMatches, body);
  if (!groups || (bodyIncludes !== undefined && !body.includes(bodyIncludes))) {
    // The gateway said something, and not that it took the text: nobody can tell whether it did.
    return fail('unknown', `HTTP ${status}, but its body is not that of a success`);
  }
  const providerId = /^[\w.:-]{1,64}$/.test(groups['id'] ?? '') ? groups['id'] : undefined;
  const cost = estimateCost(countSegments(text).segments, settings.costPerSegment);
  return { sent: true, provider, ...(providerId !== undefined && { providerId }), cost };
}
