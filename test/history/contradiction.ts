/** Records that cannot all be true. */
export type Contradiction = {
  /** Number of the promise in docs/architecture.md, "What holds, and how". */
  rule: 1 | 2 | 3 | 4 | 5 | 6;
  says: string;
  /** As few as make the point. */
  records: unknown[];
};
