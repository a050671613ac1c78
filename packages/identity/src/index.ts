export { checkCertificateRequest, createCertificateRequest } from './certificate-request.ts';
export type { CheckedRequest } from './certificate-request.ts';
export { flawOfNames, internalName, MAX_HOSTS } from './certificate-names.ts';
export { createAuthority, createClusterId } from './create-authority.ts';
export type { Authority } from './create-authority.ts';
export {
  assertNotOlder,
  IDENTITY_FILES,
  prepareOwnSecrets,
  readIdentity,
  readPrivateJson,
  replaceCertificate,
  replaceMembers,
  writeMembership,
} from './identity-folder.ts';
export type { Identity, OwnSecrets } from './identity-folder.ts';
export { IdentityError } from './identity-error.ts';
export type { IdentityErrorCode } from './identity-error.ts';
export { issueCertificate } from './issue-certificate.ts';
export type { IssuedCertificate } from './issue-certificate.ts';
export {
  formatJoinToken,
  isSignedByToken,
  parseJoinToken,
  signJoinRequest,
  tokenPublicKey,
} from './join-token.ts';
export type { JoinRequest, JoinToken } from './join-token.ts';
export { makeMember, publicKeysOf } from './make-member.ts';
export { MAX_MEMBERS, signMembers, signNextMembers, verifyMembers } from './member-list.ts';
export type { Member, MemberList, MemberRole } from './member-list.ts';
export { isSignedByUser, isUserPublicKey, publicKeyOfSeed, signAsUser } from './nkey-users.ts';
export { writeDurably } from './private-files.ts';
export {
  fingerprintOf,
  isDueForRenewal,
  readNodeCertificate,
  splitCertificates,
} from './read-certificates.ts';
export type { NodeCertificate } from './read-certificates.ts';
export { unwrap, wrapFor } from './wrap-secret.ts';
