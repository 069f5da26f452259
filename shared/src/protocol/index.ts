export { ALL_REPORTS, deviceOfTopic, ordersTopic, PROTOCOL_VERSION, reportsTopic } from './topics.js';
export { Deployment, DEPLOYMENT_TYPE, DowngradeGrant, Probation } from './deployment.js';
export {
  DeviceCertificate,
  ENROLMENT_TYPE,
  EnrolmentGrant,
  EnrolmentRequest,
  parseClaimToken,
  RENEWAL_TYPE,
  RenewalRequest,
  type ClaimToken,
} from './enrolment.js';
export {
  AdaptationBody,
  DriftBody,
  HostMetrics,
  IncidentBody,
  ProviderReport,
  RefusalBody,
  REPORT_BODIES,
  REPORT_TYPE,
  RunningModel,
  ServingCounts,
  StateBody,
  TelemetryBody,
  TransitionBody,
  UpdateState,
  type Report,
  type ReportBody,
  type ReportKind,
} from './report.js';
export { FIRST_EPOCH, RECOVERY_TYPE, RecoveryStatement } from './recovery.js';
export {
  openDeployment,
  openEnrolment,
  openRecoveryStatement,
  openRenewal,
  openReport,
  PROTOCOL_CODES,
  ProtocolError,
  signDeployment,
  signEnrolment,
  signRecoveryStatement,
  signRenewal,
  signReport,
} from './codec.js';
