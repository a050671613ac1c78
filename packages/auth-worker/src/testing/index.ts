export { startTestFront, testRadiusClient } from './start-test-front.ts';
export { makeTestKeys, makeTestVerifier, startTestAsks } from './start-test-verifier.ts';
export { useTestStates } from './use-test-states.ts';
export type { AskedElsewhere, MethodsElsewhere } from '../waits.ts';
