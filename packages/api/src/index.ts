export type { ApiServer } from './api-server.ts';
export { buildApi } from './build-api.ts';
export type { ApiOptions } from './build-api.ts';
export { normaliseAddress } from './client-address.ts';
export { holdUntilNextMark } from './hold-until-next-mark.ts';
export * from './ports.ts';
export { ProblemError } from './problem.ts';
export type { RadiusClientView, RadiusTargetView } from './radius-view.ts';
export { serveCertificate, type ApiTls } from './serve-tls.ts';
