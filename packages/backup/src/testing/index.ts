export {
  makeExampleBackup,
  makeExampleCluster,
  openEmptyDatabase,
  planted,
  type ExampleCluster,
} from './example-cluster.ts';
