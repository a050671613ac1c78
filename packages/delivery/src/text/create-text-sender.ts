import type { AddressPolicy } from '../http/check-address.ts';
import type { Sender, TextMessage } from '../sender.ts';
import type { GenericHttpSettings, TwilioSettings } from '../settings-schema.ts';
import { createGenericHttpSender } from './generic-http.ts';
import { createTwilioSender } from './twilio.ts';

/** Sends texts through a provider, whichever kind it is. */
export function createTextSender(
  provider: TwilioSettings | GenericHttpSettings,
  policy: AddressPolicy,
): Sender<TextMessage> {
  return provider.kind === 'twilio'
    ? createTwilioSender(provider, policy)
    : createGenericHttpSender(provider, policy);
}
