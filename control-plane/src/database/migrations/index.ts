import type { Migration } from '../migrate.js';
import { foundation } from './0001-foundation.js';
import { deliveries } from './0002-deliveries.js';
import { recoveries } from './0003-recoveries.js';
import { certificates } from './0004-certificates.js';
import { releaseRepository } from './0005-release-repository.js';
import { lostHistory } from './0006-lost-history.js';
import { repositoryStanding } from './0007-repository-standing.js';
import { parameters } from './0008-parameters.js';
import { inputHours } from './0009-input-hours.js';
import { trials } from './0010-trials.js';
import { labelRequests } from './0011-label-requests.js';
import { valueErrors } from './0012-value-errors.js';

/** In order, append-only: a migration that was released never changes. */
export const MIGRATIONS: readonly Migration[] = [
  foundation,
  deliveries,
  recoveries,
  certificates,
  releaseRepository,
  lostHistory,
  repositoryStanding,
  parameters,
  inputHours,
  trials,
  labelRequests,
  valueErrors,
];
