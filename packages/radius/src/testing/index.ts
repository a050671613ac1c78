export { fuzzPackets, type FuzzCount } from './fuzz-packets.ts';
