import { appendFileSync } from 'node:fs';

/** Prints a fault test's figures as one line, and appends them to COUNTERSIGN_FIGURES if that names a file. */
export function report(what: string, figures: Record<string, number | string>): void {
  const text = Object.entries(figures)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
  console.log(`figures: ${what}: ${text}`);
  const file = process.env.COUNTERSIGN_FIGURES;
  if (file) appendFileSync(file, `${JSON.stringify({ what, ...figures })}\n`);
}
