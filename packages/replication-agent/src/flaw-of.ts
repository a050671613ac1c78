import { checkDocument, DocumentError, type DocumentKind } from '@countersign/verification';

/** What every replica would stumble over for good; null if nothing. */
export function flawOf(change: {
  kind: string;
  document: unknown;
  removed: boolean;
}): string | null {
  if (change.removed || change.kind === 'probe') return null;
  try {
    checkDocument(change.kind as DocumentKind, change.document);
    return null;
  } catch (error) {
    if (error instanceof DocumentError) return error.message;
    throw error;
  }
}
