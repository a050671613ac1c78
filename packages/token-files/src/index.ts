export { TokenFileError, refuseToken } from './imported-token.ts';
export type {
  ImportedToken,
  PlacedToken,
  ReadTokens,
  RefusedToken,
  TokenCells,
} from './imported-token.ts';
export { readOtpauth } from './read-otpauth.ts';
export { readPskc } from './read-pskc.ts';
export type { PskcOptions, ReadPskc } from './read-pskc.ts';
export { readTokenCsv } from './read-token-csv.ts';
export { writeErrorCsv } from './write-error-csv.ts';
