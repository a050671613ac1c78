import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { addApplication } from './add-application.ts';
import { addApiKey } from './add-api-key.ts';
import { addUser } from './add-user.ts';
import { addUsers } from './add-users.ts';
import { answerVerification } from './answer-verification.ts';
import { beginVerification } from './begin-verification.ts';
import { blockUser } from './block-user.ts';
import { bypassUser } from './bypass-user.ts';
import { changePin } from './change-pin.ts';
import { demoteMaster } from './demote-master.ts';
import { enrollAuthenticator } from './enroll-authenticator.ts';
import { enrollWithCode } from './enroll-with-code.ts';
import { examineNode } from './examine-node.ts';
import { getApplication } from './get-application.ts';
import { exemptUser } from './exempt-user.ts';
import { getCluster } from './get-cluster.ts';
import { getDemoOutbox } from './get-demo-outbox.ts';
import { getHealth } from './get-health.ts';
import { getMasterReadiness } from './get-master-readiness.ts';
import { getMetrics } from './get-metrics.ts';
import { getOpenapi } from './get-openapi.ts';
import { getReadiness } from './get-readiness.ts';
import { getSettings } from './get-settings.ts';
import { getUser } from './get-user.ts';
import { listApplications } from './list-applications.ts';
import { listApiKeys } from './list-api-keys.ts';
import { listAuthenticators } from './list-authenticators.ts';
import { listEvents } from './list-events.ts';
import { listUsers } from './list-users.ts';
import { makeEnrolmentCode } from './make-enrolment-code.ts';
import { makeRecoveryCodes } from './make-recovery-codes.ts';
import { addOperatorOperations } from './operator-operations.ts';
import { pollVerification } from './poll-verification.ts';
import { promoteNode } from './promote-node.ts';
import { removeApplication } from './remove-application.ts';
import { removeAuthenticator } from './remove-authenticator.ts';
import { removeNode } from './remove-node.ts';
import { removeUser } from './remove-user.ts';
import { replaceNode } from './replace-node.ts';
import { reportFraud } from './report-fraud.ts';
import { revokeApiKey } from './revoke-api-key.ts';
import { setApplication } from './set-application.ts';
import { setPin } from './set-pin.ts';
import { setSettings } from './set-settings.ts';
import { setUser } from './set-user.ts';
import { takeTextCallback } from './take-text-callback.ts';
import { unblockUser } from './unblock-user.ts';

/** Every operation of the API, one file each. */
export function addOperations(api: ApiServer, ports: ApiPorts): void {
  beginVerification(api, ports);
  answerVerification(api, ports);
  pollVerification(api, ports);

  addUser(api, ports);
  addUsers(api, ports);
  listUsers(api, ports);
  getUser(api, ports);
  setUser(api, ports);
  removeUser(api, ports);
  blockUser(api, ports);
  unblockUser(api, ports);
  reportFraud(api, ports);
  exemptUser(api, ports);
  bypassUser(api, ports);
  setPin(api, ports);
  changePin(api, ports);
  makeRecoveryCodes(api, ports);
  makeEnrolmentCode(api, ports);

  enrollAuthenticator(api, ports);
  enrollWithCode(api, ports);
  listAuthenticators(api, ports);
  removeAuthenticator(api, ports);

  listApiKeys(api, ports);
  addApiKey(api, ports);
  revokeApiKey(api, ports);

  getSettings(api, ports);
  setSettings(api, ports);
  addApplication(api, ports);
  listApplications(api, ports);
  getApplication(api, ports);
  setApplication(api, ports);
  removeApplication(api, ports);
  getCluster(api, ports);
  examineNode(api, ports);
  promoteNode(api, ports);
  demoteMaster(api, ports);
  listEvents(api, ports);

  replaceNode(api, ports);
  removeNode(api, ports);
  if (ports.takeTextCallback) takeTextCallback(api, (told) => ports.takeTextCallback!(told));
  if (ports.readDemoOutbox) getDemoOutbox(api, () => ports.readDemoOutbox!());
  if (ports.operator) addOperatorOperations(api, ports.operator);

  getHealth(api, ports);
  getReadiness(api, ports);
  getMasterReadiness(api, ports);
  getMetrics(api, ports);
  getOpenapi(api);
}
