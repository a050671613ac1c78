export type * from './types.ts';
export { directoryDefaults } from './defaults.ts';
