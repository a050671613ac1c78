export function userPath(username: string, rest = ''): string {
  return `/api/v1/users/${encodeURIComponent(username)}${rest}`;
}
