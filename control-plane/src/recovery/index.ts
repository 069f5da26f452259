export { takeBackup, type BackupOptions } from './backup.js';
export { BackupDocument } from './backup-document.js';
export { RECOVERY_CODES, RecoveryError } from './errors.js';
export { beginRecovery, isLostTime } from './history.js';
export { createRequest, parseRequest, RecoveryRequest, signRequest, toEnvelope } from './request.js';
export { openRecovery, type Recovery, type RecoveryView } from './recovery.js';
export { restoreBackup, type RestoreOptions } from './restore.js';
export { recoveryRoutes } from './routes.js';
