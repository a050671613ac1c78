export { directoryDefaults } from './defaults.ts';
export type * from './types.ts';
