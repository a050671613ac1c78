import { InvalidArgumentError, Option } from 'commander';

/** By method; null takes the user's own mode away. */
export type Modes = Record<string, string | null>;

/** `--mode METHOD=MODE`, as often as wanted; with nothing behind the = the usual mode counts again. */
export function modesOption(): Option {
  return new Option(
    '--mode <method=mode>',
    'like oath=code+pin, text=otp+pin, call=pin or app=number; repeat for several',
  ).argParser(addMode);
}

export function addMode(text: string, before: Modes | undefined): Modes {
  const [, method = '', mode = ''] = /^([a-z]+)=([a-z+]*)$/.exec(text) ?? [];
  if (method === '') throw new InvalidArgumentError('It must be like oath=code+pin.');
  return { ...before, [method]: mode === '' ? null : mode };
}
