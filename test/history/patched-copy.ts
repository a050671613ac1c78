import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

export type Patch = {
  /** From the checkout's root. */
  file: string;
  /** Must stand in it exactly once. */
  find: string;
  replace: string;
  /** Put at the file's end. */
  append?: string;
};

/** A copy of the product with some of its text replaced: what the product would be with a fault in it. */
export class PatchedCopy implements Disposable {
  readonly folder: string;

  constructor(patches: Patch[]) {
    this.folder = mkdtempSync('/var/tmp/countersign-patched-');
    // Engines run as another user when the tests run as root.
    chmodSync(this.folder, 0o755);
    const isLink = { recursive: true, verbatimSymlinks: true };
    cpSync(join(CHECKOUT, 'packages'), this.path('packages'), isLink);
    cpSync(join(CHECKOUT, 'test/node_modules'), this.path('test/node_modules'), isLink);
    mkdirSync(this.path('test/history'));
    for (const shared of ['node_modules', '.tools']) {
      symlinkSync(join(CHECKOUT, shared), this.path(shared));
    }
    for (const file of ['package.json', 'test/package.json']) {
      cpSync(join(CHECKOUT, file), this.path(file));
    }
    for (const file of ['dump-replica.ts', 'records.ts', 'straggler-scenario.ts']) {
      cpSync(join(CHECKOUT, 'test/history', file), this.path('test/history', file));
    }
    for (const patch of patches) this.#apply(patch);
  }

  get commandLine(): string {
    return this.path('packages/cli/src/main.ts');
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #apply({ file, find, replace, append = '' }: Patch): void {
    const parts = readFileSync(this.path(file), 'utf8').split(find);
    if (parts.length !== 2) {
      const times = parts.length - 1;
      throw new Error(`${file} has ${times} times, not once: ${find}. Fit the patch to the code.`);
    }
    writeFileSync(this.path(file), parts.join(replace) + append);
  }
}
