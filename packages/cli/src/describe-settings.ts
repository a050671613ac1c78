import {
  defaultSettings,
  escapeUntrusted,
  findSetting,
  GROUP_TITLES,
  listSettings,
  type Setting,
} from '@countersign/verification';
import { formatRow } from './table.ts';

export type Values = Record<string, unknown>;

const VALUE_MAX_LENGTH = 60;

const defaults: Values = Object.fromEntries(
  listSettings(defaultSettings).map(({ name, value }) => [name, value]),
);

/** Where a value comes from: `default`, or nothing to say. */
export function originOf(name: string, value: unknown): string {
  return JSON.stringify(value) === JSON.stringify(defaults[name]) ? 'default' : '';
}

/** Settings by group, each with its value and where that comes from. */
export function describeSettings(
  values: Values,
  origin: (name: string, value: unknown) => string = originOf,
): string[] {
  const rows = Object.entries(values).map(([name, value]) => [
    `  ${name}`,
    shorten(showValue(value)),
    origin(name, value),
  ]);
  const safe = rows.map((row) => row.map((cell) => escapeUntrusted(cell)));
  const widths = [0, 1, 2].map((column) => Math.max(0, ...safe.map((row) => row[column]!.length)));
  const byGroup = Map.groupBy(safe, ([name = '']) => name.trim().split('.', 1)[0] ?? '');
  return [...byGroup].flatMap(([group, members]) => [
    `${GROUP_TITLES[group as keyof typeof GROUP_TITLES] ?? group}:`,
    ...members.map((row) => formatRow(row, widths)),
  ]);
}

export function showValue(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value);
}

function shorten(text: string): string {
  return text.length > VALUE_MAX_LENGTH ? `${text.slice(0, VALUE_MAX_LENGTH - 1)}…` : text;
}

/** What a setting is and may be. */
export function describeSetting(name: string): string[] {
  const setting = findSetting(name);
  const rows = [
    ['value', setting.unit === null ? setting.allowed : `${setting.allowed} (${setting.unit})`],
    ['default', standardOf(name, setting)],
    ['own value', setting.overriddenBy.join(', ') || 'nobody has one'],
  ];
  if (setting.secret) {
    const places = setting.secret.sentTo.map((field) => `${name.split('.', 1)[0]}.${field}`);
    rows.push(['secret', places.length > 0 ? `given again with ${places.join(', ')}` : 'yes']);
  }
  return [`${name}: ${setting.about}`, ...rows.map((row) => formatRow(row, [10]))];
}

function standardOf(name: string, { kind }: Setting): string {
  if (kind === 'by application') return 'that of withoutQuorum.default';
  return showValue(defaults[name]) || 'empty';
}
