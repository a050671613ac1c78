export interface NodeTextLimits {
  /** Texts an hour to numbers that differ only in their last four digits. */
  perPrefixPerHour: number;
  perHour: number;
}

export const defaultNodeTextLimits: NodeTextLimits = { perPrefixPerHour: 200, perHour: 2_000 };

/** Once in an hour for each limit: when a text reaches four fifths of it, and the limit itself. */
export interface TextAlarm {
  limit: 'prefix' | 'node';
  level: 'nearly' | 'reached';
  prefix?: string;
}

export type NodeBudgetVerdict =
  | { allowed: true; alarms: TextAlarm[] }
  | { allowed: false; reason: 'prefix' | 'node' };

const hourSeconds = 3_600;
const maxPrefixes = 5_000;
const otherPrefixes = 'other';

/**
 * What one node sends in the present hour. Approximate by design: clock hours, each node for itself
 * (the caller divides limits by the nodes). Beyond 5,000 prefixes an hour the rest share one.
 */
export class NodeTextBudget {
  #hour = 0;
  #sent = 0;
  #byPrefix = new Map<string, number>();

  /** Spends one text, or says which limit it would exceed; a refusal spends nothing. */
  spend(number: string, nowMs: number, limits = defaultNodeTextLimits): NodeBudgetVerdict {
    this.#beginHour(Math.floor(nowMs / (hourSeconds * 1_000)));
    const prefix = this.#choosePrefix(number);
    const sent = this.#sent + 1;
    const toPrefix = (this.#byPrefix.get(prefix) ?? 0) + 1;
    if (sent > limits.perHour) return { allowed: false, reason: 'node' };
    if (toPrefix > limits.perPrefixPerHour) return { allowed: false, reason: 'prefix' };
    this.#sent = sent;
    this.#byPrefix.set(prefix, toPrefix);
    const alarms: TextAlarm[] = [];
    for (const level of judgeLevel(sent, limits.perHour)) alarms.push({ limit: 'node', level });
    for (const level of judgeLevel(toPrefix, limits.perPrefixPerHour)) {
      alarms.push({ limit: 'prefix', level, prefix });
    }
    return { allowed: true, alarms };
  }

  // A clock set back does not open a fresh hour.
  #beginHour(hour: number): void {
    if (hour <= this.#hour) return;
    this.#hour = hour;
    this.#sent = 0;
    this.#byPrefix.clear();
  }

  #choosePrefix(number: string): string {
    const prefix = number.slice(0, -4);
    const hasRoom = this.#byPrefix.size < maxPrefixes || this.#byPrefix.has(prefix);
    return hasRoom ? prefix : otherPrefixes;
  }
}

function judgeLevel(count: number, limit: number): ('nearly' | 'reached')[] {
  if (count === limit) return ['reached'];
  return count === Math.ceil(limit * 0.8) ? ['nearly'] : [];
}
