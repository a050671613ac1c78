const ANSWER_WITHIN_MS = 5000;

type Message = { type: string };

/**
 * What the supervisor answers to the message `wanted`, which it does in the order it was asked.
 * @throws Error `otherwise`: it did not answer within 5 seconds
 */
export async function askSupervisor<T extends Message>({
  wanted,
  answeredBy,
  otherwise,
}: {
  wanted: Message['type'];
  answeredBy: T['type'];
  otherwise: string;
}): Promise<T> {
  const answer = Promise.withResolvers<T>();
  const listener = (message: Message) => {
    if (message.type === answeredBy) answer.resolve(message as T);
  };
  const giveUp = () => answer.reject(new Error(otherwise));
  const deadline = setTimeout(giveUp, ANSWER_WITHIN_MS);
  process.on('message', listener);
  try {
    process.send?.({ type: wanted }, undefined, undefined, () => {});
    return await answer.promise;
  } finally {
    clearTimeout(deadline);
    process.off('message', listener);
  }
}
