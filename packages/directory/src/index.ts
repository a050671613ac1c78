export { chooseItem, type PlacedItem } from './choose-item.ts';
export { directoryDefaults, type DirectoryDefaults } from './defaults.ts';
export { DirectoryError, type DirectoryFault } from './directory-error.ts';
export { dnKey, InvalidDnError, isUnder } from './dn.ts';
export type { RefusedPerson } from './read-person.ts';
export type * from './types.ts';
