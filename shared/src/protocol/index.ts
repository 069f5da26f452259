export { ALL_REPORTS, deviceOfTopic, ordersTopic, PROTOCOL_VERSION, reportsTopic } from './topics.js';
export { Deployment, DEPLOYMENT_TYPE, DowngradeGrant, Probation } from './deployment.js';
export { TrialMode, TrialTerms } from './trial.js';
export { ComparisonCounts } from './comparison.js';
export {
  LABEL_ANSWERS_TAKEN,
  LABEL_ANSWERS_TYPE,
  LabelAnswers,
  LabelOutcome,
  MAX_LABEL_ANSWERS,
  type SentLabelAnswer,
} from './label-answers.js';
export { LabelListing, ListedLabelRequest, MAX_LISTED_LABELS } from './label-listing.js';
export {
  DeviceCertificate,
  ENROLMENT_TYPE,
  EnrolmentGrant,
  EnrolmentRequest,
  GRANT_READS_HEADER,
  parseClaimToken,
  READMISSION_TYPE,
  ReadmissionRequest,
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
  RepositoryStanding,
  RunningModel,
  InputHour,
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
  openLabelAnswers,
  openReadmission,
  openRecoveryStatement,
  openRenewal,
  openReport,
  PROTOCOL_CODES,
  ProtocolError,
  signDeployment,
  signEnrolment,
  signLabelAnswers,
  signReadmission,
  signRecoveryStatement,
  signRenewal,
  signReport,
} from './codec.js';
