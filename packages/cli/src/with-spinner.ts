const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const EVERY_MS = 80;
/** What is quicker needs none. */
const AFTER_MS = 300;

/** Shows at a terminal that something is waited for; prints nothing anywhere else. */
export async function withSpinner<T>(what: string, work: Promise<T>): Promise<T> {
  const { stderr } = process;
  if (!stderr.isTTY) return work;
  const startedAt = performance.now();
  let isShown = false;
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startedAt;
    if (elapsedMs < AFTER_MS) return;
    isShown = true;
    const frame = FRAMES[Math.floor(elapsedMs / EVERY_MS) % FRAMES.length];
    stderr.write(`\r${frame} ${what}`);
  }, EVERY_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (isShown) stderr.write(`\r${' '.repeat(what.length + 2)}\r`);
  }
}
