export { createTestCluster } from './create-test-cluster.ts';
export type { TestCluster, TestMember } from './create-test-cluster.ts';
