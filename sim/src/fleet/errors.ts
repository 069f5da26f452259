import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const SIMULATION_CODES = {
  PROCESS_NOT_READY: { fault: 'environment', retryable: true },
  CONTROL_PLANE_REFUSED: { fault: 'peer', retryable: false },
  INFERENCE_REFUSED: { fault: 'peer', retryable: true },
  WAITED_IN_VAIN: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class SimulationError extends CodedError<keyof typeof SIMULATION_CODES> {
  constructor(code: keyof typeof SIMULATION_CODES, what: string, facts: ErrorFacts) {
    super(SIMULATION_CODES, code, what, facts);
  }
}
