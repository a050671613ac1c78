export { fuzzPackets, type FuzzCount } from './fuzz-packets.ts';
export { runTool } from './run-tool.ts';
