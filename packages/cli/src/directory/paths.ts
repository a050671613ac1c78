const PATH = '/api/v1/directories';

export const DIRECTORIES = PATH;

export function directoryPath(name: string, ...more: string[]): string {
  return [PATH, ...[name, ...more].map((part) => encodeURIComponent(part))].join('/');
}

/** Above the 25 s that a node waits for a directory. */
export const DIRECTORY_TIMEOUT_MS = 35_000;
