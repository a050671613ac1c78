export { PrivateFileError } from './private-file-error.ts';
export type { PrivateFileErrorCode } from './private-file-error.ts';
export { assertPrivate, readPrivateFile } from './read-private-file.ts';
export { removeDrafts, syncPath, writePrivateFile } from './write-private-file.ts';
