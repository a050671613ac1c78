import type { Finding } from '@countersign/doctor/finding';
import { escapeAll } from '../escape-all.ts';

const NAME_WIDTH = 8;

/** For people: a line each, and what to type below what is wrong. */
export function describeFindings(about: string, untrusted: readonly Finding[]): string[] {
  const lines = escapeAll(untrusted).flatMap(({ name, ok, severity, detail, fix }) => {
    const word = ok ? 'ok' : severity === 'warning' ? 'WARN' : 'WRONG';
    const line = `  ${word.padEnd(5)}  ${name.padEnd(NAME_WIDTH)}  ${detail}`;
    return fix === undefined ? [line] : [line, `${' '.repeat(NAME_WIDTH + 11)}-> ${fix}`];
  });
  return [escapeAll(about), ...lines, ''];
}

/** The last line: whether to go on reading. */
export function summarise(found: readonly Finding[]): string {
  const wrong = found.filter(({ ok }) => !ok);
  if (wrong.length === 0) return 'nothing is wrong';
  const warnings = wrong.filter(({ severity }) => severity === 'warning').length;
  const counts = [
    ...(wrong.length > warnings ? [`${wrong.length - warnings} WRONG`] : []),
    ...(warnings > 0 ? [`${warnings} WARN`] : []),
  ];
  return `something is wrong (${counts.join(', ')}): what to type stands behind ->`;
}
