export { signRequest } from '../authenticators.ts';
export { checkReply } from '../check-reply.ts';
export { hideUserPassword } from '../hidden-attributes.ts';
export { fuzzPackets, type FuzzCount } from './fuzz-packets.ts';
export { makeMschapV2, makeMschapV2Change } from './mschapv2.ts';
export { runTool } from './run-tool.ts';
export { about, sendRadius, type RadiusAnswer } from './send-radius.ts';
export { signTestRequest } from './sign-test-request.ts';
export { openUdpPeer, type UdpPeer } from './udp-peer.ts';
