/**
 * Whether tests run their PostgreSQL and NATS in containers (`npm run containers` says so) instead
 * of on this machine, where they start faster.
 */
export function usesContainers(): boolean {
  return process.env.COUNTERSIGN_TEST_ENGINES === 'containers';
}
