// By name: importing the classes would load every package a node uses.
const expected = [
  'NodeError',
  'EngineError',
  'KeyError',
  'MigrationError',
  'IdentityError',
  'DatabaseRefusedError',
  'NatsRefusedError',
];

/** One line for what an operator can do something about, everything known for a defect. */
export function explainFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return expected.includes(error.name) ? error.message : (error.stack ?? error.message);
}
