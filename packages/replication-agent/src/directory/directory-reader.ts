import type { Directory } from '@countersign/directory';

/** What the synchronisation asks of a directory. */
export type DirectoryReader = AsyncDisposable &
  Pick<
    Directory,
    | 'readPeople'
    | 'readByObjects'
    | 'readByDns'
    | 'readMembers'
    | 'hasContainer'
    | 'readChanges'
    | 'listObjects'
  >;
