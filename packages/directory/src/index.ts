export { directoryDefaults } from './defaults.ts';
export { DirectoryError, type DirectoryFault } from './directory-error.ts';
export type * from './types.ts';
