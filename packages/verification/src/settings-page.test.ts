import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { settingsPage } from './settings-page.ts';
import { settingNames } from './settings.ts';

const FILE = join(import.meta.dirname, '../../../docs/settings.md');

it('docs/settings.md says what the settings are now; else: npm run settings-docs', () => {
  expect(readFileSync(FILE, 'utf8')).toBe(settingsPage());
});

it('the page has a row for every setting, and each row four cells', () => {
  const rows = settingsPage()
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  expect(rows.map((line) => line.split('`')[1])).toEqual(expect.arrayContaining([...settingNames]));
  expect(rows.length).toBe(settingNames.length);
  for (const line of rows) expect(line.split(/(?<!\\)\|/).length, line).toBe(6);
});
