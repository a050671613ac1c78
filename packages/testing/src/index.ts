export { takeFreePorts } from './free-ports.ts';
export { hasOpenssl, makeTestCertificate, type TestCertificate } from './make-test-certificate.ts';
export {
  hasKannel,
  startTestKannel,
  type ReceivedText,
  type TestKannel,
} from './start-test-kannel.ts';
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
export {
  hasSmtpServer,
  startTestSmtp,
  type ReceivedMail,
  type TestSmtp,
} from './start-test-smtp.ts';
export { waitFor } from './wait-for.ts';
