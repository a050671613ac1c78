export { FaultyTcp, type TcpFault } from './faulty-tcp.ts';
export { takeFreePorts } from './free-ports.ts';
export {
  addEntry,
  addValues,
  deleteEntry,
  escapeDnValue,
  replaceAttributes,
  type LdifAttributes,
} from './ldif.ts';
export {
  hasOpenssl,
  makeTestCertificate,
  type TestCertificate,
  type TestCertificateOptions,
} from './make-test-certificate.ts';
export { type SlapdPerson } from './slapd-people.ts';
export { type SambaPeople, type SambaStaffMember } from './samba-people.ts';
export {
  type FreeradiusRole,
  type FreeradiusUser,
  hasFreeradius,
  startTestFreeradius,
  type TestFreeradius,
} from './start-test-freeradius.ts';
export {
  hasKannel,
  startTestKannel,
  type ReceivedText,
  type TestKannel,
} from './start-test-kannel.ts';
export { startOperatorsNats, type TestOperatorsNats } from './start-operators-nats.ts';
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
export { hasNginxStream, startTestNginx, type TestNginx } from './start-test-nginx.ts';
export {
  hasNtlmAuth,
  hasSamba,
  type NtlmAuth,
  startTestSamba,
  type TestSamba,
} from './start-test-samba.ts';
export { hasSlapd, startTestSlapd, type TestSlapd } from './start-test-slapd.ts';
export {
  hasSmtpServer,
  startTestSmtp,
  type ReceivedMail,
  type TestSmtp,
} from './start-test-smtp.ts';
export { waitFor } from './wait-for.ts';
