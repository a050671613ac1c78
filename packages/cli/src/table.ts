/** Columns as wide as their widest cell, two spaces apart, without trailing spaces. Cells are plain text. */
export function formatTable(headings: string[], rows: string[][]): string[] {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [headings, ...rows].map((row) => formatRow(row, widths));
}

/** One row of columns of at least these widths. */
export function formatRow(row: string[], widths: number[]): string {
  return row
    .map((cell, column) => cell.padEnd(widths[column] ?? 0))
    .join('  ')
    .trimEnd();
}
