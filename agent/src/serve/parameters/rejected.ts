import type { ModelName } from '@drover/shared/ids';
import { ServeError } from '../errors.js';
import type { Rejection } from './board.js';

/** For the operator, also after probation, when nothing goes back by itself any more. */
export const rejected = (model: ModelName, { digest, reason }: Rejection): ServeError =>
  new ServeError('PARAMETERS_REJECTED', `An application refused the parameters of ${model} (${digest}): ${reason}`, {
    remedy:
      'On probation the device goes back by itself. Later: `drover rollout abort --revert`, or publish better values.',
  });
