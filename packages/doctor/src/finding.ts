/** What one check says; what is wrong says what to type. */
export type Finding = {
  /** Of the check. */
  name: string;
  ok: boolean;
  /** Missing where nothing is wrong. `critical`: people cannot sign in, nothing can be changed, or a secret lies open. */
  severity?: 'warning' | 'critical';
  detail: string;
  /** What to type, or where to look, about it. */
  fix?: string;
};

export function fine(name: string, detail: string): Finding {
  return { name, ok: true, detail };
}

export function warning(name: string, detail: string, fix: string): Finding {
  return { name, ok: false, severity: 'warning', detail, fix };
}

export function critical(name: string, detail: string, fix: string): Finding {
  return { name, ok: false, severity: 'critical', detail, fix };
}

/** A path as a shell takes it in one piece. */
export function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
