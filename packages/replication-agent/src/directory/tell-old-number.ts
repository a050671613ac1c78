import {
  createSendThrough,
  createTextSender,
  renderText,
  type AddressPolicy,
  type Sender,
  type TextMessage,
} from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { textProvidersOf } from '@countersign/operations';
import type { Settings, UserDocument } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';

export type TellOptions = {
  seedKey: PurposeKey;
  policy: AddressPolicy;
  /** Takes every text instead of the providers. Only a demo has one. */
  outbox: Sender<TextMessage> | null;
};

const TEXT_MS = 7500;
const PER_PROVIDER_MS = 4000;

/** Tells a phone by text that another number takes its place. `nobody`: no provider of texts is set. */
export async function tellOldNumber(
  user: UserDocument,
  { from, to }: { from: string; to: string },
  settings: Settings,
  options: TellOptions,
): Promise<'sent' | 'failed' | 'nobody'> {
  const sender = options.outbox ?? senderOf(settings, options);
  if (!sender) return 'nobody';
  const { name, language } = settings.company;
  const values = { company_name: name, phone_ending: to.slice(-2) };
  const text = renderText('phoneReplaced', values, { languages: [user.language, language] });
  const message = { id: uuidv7(), to: from, text };
  const result = await sender.send(message, { timeoutMs: TEXT_MS });
  return result.sent ? 'sent' : 'failed';
}

function senderOf(
  settings: Settings,
  { seedKey, policy }: TellOptions,
): Sender<TextMessage> | null {
  const providers = textProvidersOf(seedKey, settings);
  if (providers.length === 0) return null;
  return createSendThrough({
    senders: providers.map((provider) => createTextSender(provider, policy)),
    perProviderMs: PER_PROVIDER_MS,
    afterUnknown: 'next',
    onAttempt: () => undefined,
  });
}
