export { takeFreePorts } from './free-ports.ts';
export {
  findTestNatsServer,
  startTestNats,
  toolNatsServer,
  type TestNats,
} from './start-test-nats.ts';
export {
  createTestDatabase,
  parsePostgresUrl,
  startThrowAwayPostgres,
  testPostgres,
  testPostgresVariable,
  type TestConnection,
  type TestDatabase,
} from './start-test-postgres.ts';
export { waitFor } from './wait-for.ts';
