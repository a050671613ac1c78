export { MemorySessions, OLIVE } from './memory-sessions.ts';
export { ENROLMENT_CODE, healthyCluster, MemoryPorts } from './memory-ports.ts';
export { silentLogger } from './silent-logger.ts';
export { startApi } from './start-api.ts';
export { MemoryRadius } from './memory-radius.ts';
export { directoryFixture, MemoryDirectories } from './memory-directories.ts';
export { MemoryRadiusFront } from './memory-radius-front.ts';
