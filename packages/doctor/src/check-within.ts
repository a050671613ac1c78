import { setTimeout as sleep } from 'node:timers/promises';
import { explain, warning, type Finding } from './finding.ts';

export type Check = {
  name: string;
  /** How long it may take, in ms. */
  withinMs: number;
  /** Where to look when it cannot be made. */
  otherwise: string;
  look(): Promise<Finding[]>;
};

/** What a check found; one that fails or takes too long is a finding of its own. */
export async function checkWithin({ name, withinMs, otherwise, look }: Check): Promise<Finding[]> {
  const made = new AbortController();
  const late = sleep(withinMs, 'late' as const, { signal: made.signal }).catch(
    () => 'late' as const,
  );
  try {
    const found = await Promise.race([look(), late]);
    if (found !== 'late') return found;
    return [warning(name, `could not be checked: no answer in ${withinMs / 1000} s`, otherwise)];
  } catch (error) {
    return [warning(name, `could not be checked: ${explain(error)}`, otherwise)];
  } finally {
    made.abort();
  }
}
