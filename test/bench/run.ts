/** `npm run bench [-- verifications|mixed|bulk|directory|radius|backup|rotate]`: what each measures stands at its top. */
const BENCHES: Record<string, () => Promise<unknown>> = {
  verifications: () => import('./verifications.ts'),
  mixed: () => import('./mixed.ts'),
  bulk: () => import('./bulk.ts'),
  directory: () => import('./directory.ts'),
  radius: () => import('./radius.ts'),
  backup: () => import('./backup.ts'),
  rotate: () => import('./rotate.ts'),
};

const name = process.argv[2] ?? 'verifications';
const bench = BENCHES[name];
if (bench) await bench();
else {
  console.error(`no bench is called ${name}: ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
}
