export { makeFrontKeys, openTestFront, radiusClientAt, SHARED } from './open-test-front.ts';
export { makeTestVerifier, startTestAsks } from './start-test-verifier.ts';
export { useTestStates } from './use-test-states.ts';
export type { AskedElsewhere, MethodsElsewhere } from '../waits.ts';
