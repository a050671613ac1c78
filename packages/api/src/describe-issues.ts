import { escapeUntrusted } from '@countersign/verification';
import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

const MAX_ISSUES = 5;
const MAX_FIELD_LENGTH = 80;

/** Says in our own words what is wrong with which field; never repeats the value, which may be a secret. */
export function describeIssues(issues: readonly Issue[], where: string): string {
  const told = issues.slice(0, MAX_ISSUES).flatMap((issue) => describeIssue(issue, where));
  return [...new Set(told)].slice(0, MAX_ISSUES).join('; ');
}

function describeIssue(issue: Issue, where: string): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .slice(0, MAX_ISSUES)
      .map((key) => `${fieldName([...issue.path, key], where)} is not a known field`);
  }
  return [`${fieldName(issue.path, where)} ${complaint(issue)}`];
}

function complaint(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      // The issue itself doesn't tell absent from wrong.
      if (issue.message.endsWith('received undefined')) return 'is required';
      return `must be of type ${issue.expected}`;
    case 'too_small':
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'custom':
      return issue.message;
    default:
      return 'is not valid';
  }
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long';
  if (origin === 'array') return ' items long';
  return '';
}

function fieldName(path: readonly PropertyKey[], where: string): string {
  if (path.length === 0) return where;
  return escapeUntrusted(path.map(String).join('.')).slice(0, MAX_FIELD_LENGTH);
}
