import { EngineError } from '@countersign/engines';
import { KeyError } from '@countersign/keys';

import { NodeError } from './node-error.ts';

/** One line for what an operator can do something about, everything known for a defect. */
export function explainFailure(error: unknown): string {
  const isExpected =
    error instanceof NodeError || error instanceof EngineError || error instanceof KeyError;
  if (isExpected) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
