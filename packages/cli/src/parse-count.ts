import { InvalidArgumentError } from 'commander';

/** An option's whole number, not negative. Throws commander's InvalidArgumentError otherwise. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
