export { chooseItem, type PlacedItem } from './choose-item.ts';
export { directoryDefaults, type DirectoryDefaults } from './defaults.ts';
export { DirectoryError, type DirectoryFault } from './directory-error.ts';
export { dnKey, findDnKey, InvalidDnError, isUnder } from './dn.ts';
export { readChanges } from './read-changes.ts';
export { readMembers } from './read-members.ts';
export {
  hasContainer,
  listObjects,
  readByDns,
  readByObjects,
  readPeople,
  type OnRefused,
} from './read-people.ts';
export type { RefusedPerson } from './read-person.ts';
export type { Reading } from './reading.ts';
export type * from './types.ts';
