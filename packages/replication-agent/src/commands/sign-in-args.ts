import { METHODS, MODES, type UserDocument } from '@countersign/verification';
import { z } from 'zod';

/** How a user signs in, where that differs from the settings; null clears. */
export const signInArgs = {
  method: z.enum(METHODS).nullish(),
  /** By method; what is left out stays. */
  modes: z
    .strictObject({
      oath: z.enum(MODES.oath).nullish(),
      text: z.enum(MODES.text).nullish(),
      call: z.enum(MODES.call).nullish(),
      app: z.enum(MODES.app).nullish(),
    })
    .nullish(),
  language: z.string().nullish(),
};

type ModesWish = z.output<(typeof signInArgs)['modes']>;

export function withModes(user: UserDocument, wish: ModesWish): UserDocument {
  if (wish === undefined) return user;
  const { modes: before, ...rest } = user;
  const wanted = wish === null ? [] : Object.entries({ ...before, ...wish });
  const modes = Object.fromEntries(wanted.filter(([, mode]) => mode != null));
  return Object.keys(modes).length > 0 ? { ...rest, modes } : rest;
}
