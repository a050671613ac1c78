import { API_SCOPES, type ApiKeyDocument } from './documents.ts';

/** Whether no other of the keys has every right for every application, from anywhere, and has not expired. */
export function isLastFullKey(keys: readonly ApiKeyDocument[], id: string, nowMs: number): boolean {
  const full = keys.filter((key) => isFull(key, nowMs));
  return full.length === 1 && full[0]!.id === id;
}

function isFull({ scopes, applications, networks, expiresAt }: ApiKeyDocument, nowMs: number) {
  const isValid = expiresAt === null || Date.parse(expiresAt) > nowMs;
  const hasAll = API_SCOPES.every((scope) => scopes.includes(scope));
  return isValid && hasAll && applications === null && networks === null;
}
