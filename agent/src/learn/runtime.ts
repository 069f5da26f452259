import { InferenceSession } from '../onnxruntime/index.js';
import { LearnError } from './errors.js';

/**
 * A session for training and judging: CPU, one thread, because the device's other work comes first and because sums over threads would not be
 * repeatable. Release it when done.
 *
 * @throws LearnError LEARN_RUNTIME_FAILED
 */
export async function openSession(model: Uint8Array): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(model, {
      executionProviders: ['cpu'],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // Its warnings about unused initializers would end up in the log of the device.
      logSeverityLevel: 3,
    });
  } catch (cause) {
    throw runtimeFailed('did not accept the model', cause);
  }
}

/** @throws LearnError LEARN_RUNTIME_FAILED */
export async function runSession(
  session: InferenceSession,
  feeds: InferenceSession.FeedsType,
): Promise<InferenceSession.ReturnType> {
  try {
    return await session.run(feeds);
  } catch (cause) {
    throw runtimeFailed('failed in the middle of a run', cause);
  }
}

function runtimeFailed(what: string, cause: unknown): LearnError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LearnError('LEARN_RUNTIME_FAILED', `ONNX Runtime ${what}: ${why}`, {
    remedy: 'Check that the model runs on this device at all (`drover-agent doctor`), and that memory is left.',
    cause,
  });
}
