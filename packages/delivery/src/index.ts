export {
  checkPhoneNumber,
  type PhoneCheck,
  type PhonePolicy,
  type PhoneRefusal,
} from './check-phone-number.ts';
export { cleanLine } from './clean-text.ts';
export type { AddressPolicy } from './http/check-address.ts';
export { readMailAddress } from './mail/mail-address.ts';
export { createSmtpSender } from './mail/smtp.ts';
export { createOutbox, type Outbox, type OutboxEntry } from './outbox.ts';
export { TemplateError } from './placeholders.ts';
export { createSendThrough, type SendAttempt, type SendThroughOptions } from './send-through.ts';
export type {
  Cost,
  MailMessage,
  Sender,
  SendOptions,
  SendOutcome,
  SendResult,
  TextMessage,
} from './sender.ts';
export {
  genericHttpSettings,
  smtpSettings,
  templateOverrides,
  textProviderSettings,
  twilioSettings,
  type GenericHttpSettings,
  type ProviderSettings,
  type SmtpSettings,
  type TemplateOverrides,
  type TwilioSettings,
} from './settings-schema.ts';
export { chooseLanguage, languages } from './templates/languages.ts';
export {
  checkMailTemplate,
  checkTextTemplate,
  renderMail,
  renderText,
} from './templates/render.ts';
export {
  mailSituations,
  textSituations,
  type MailSituation,
  type MailTemplate,
  type TextSituation,
} from './templates/situations.ts';
export { countSegments, type SegmentCount } from './text/count-segments.ts';
export { createTextSender } from './text/create-text-sender.ts';
export { isE164 } from './text/is-e164.ts';
export {
  callbackAuthToken,
  readTwilioCallback,
  verifyTwilioSignature,
  type CallbackVerdict,
  type TwilioCallback,
} from './text/twilio-callback.ts';
export {
  defaultNodeTextLimits,
  NodeTextBudget,
  type NodeBudgetVerdict,
  type NodeTextLimits,
  type TextAlarm,
} from './text-budgets.ts';
