import type { InstalledModel } from '../../update/ports.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import { endingOf, forkChild } from './fork-child.js';
import type { ChildSettings, FromProbe, ProbeOutcome, ToProbe } from './messages.js';

export interface ProbeOptions {
  readonly settings: ChildSettings;
  readonly nodeFlags: readonly string[];
  readonly timeoutMs: number;
}

/**
 * Self-tests a candidate in a child process of its own.
 *
 * @throws ServeError SELF_TEST_CRASHED (the child died of it), SELF_TEST_TIMEOUT, and what the self-test throws
 */
export function runProbe(candidate: InstalledModel, options: ProbeOptions, signal: AbortSignal): Promise<ProbeOutcome> {
  signal.throwIfAborted();
  const { settings, nodeFlags, timeoutMs } = options;
  const child = forkChild('./probe-main.js', nodeFlags);
  return new Promise<ProbeOutcome>((resolve, reject) => {
    // The promise settles at the child's exit, so that nothing of the probe outlives the call.
    let settle = (ending: string): void =>
      reject(
        new ServeError(
          'SELF_TEST_CRASHED',
          `The probe process ${ending} while it tested ${candidate.model} ${candidate.release.version}.`,
          {
            remedy: 'Do not roll this release out on this hardware: it would have crashed the inference process.',
            where: candidate.modelFile,
          },
        ),
      );
    const killFor = (error: unknown): void => {
      settle = () => reject(error instanceof Error ? error : new Error(String(error)));
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => {
      const what = `The self-test of ${candidate.model} ${candidate.release.version} did not end within ${timeoutMs} ms.`;
      killFor(
        new ServeError('SELF_TEST_TIMEOUT', what, {
          remedy: 'Check that the model is not too large for this hardware.',
        }),
      );
    }, timeoutMs);
    const onAbort = (): void => killFor(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    child.on('message', (message: FromProbe) => {
      settle = () => (message.kind === 'passed' ? resolve(message.outcome) : reject(fromCodedErrorJson(message.error)));
    });
    child.on('error', (cause) => {
      if (child.pid !== undefined) return;
      const remedy = 'Free memory, or raise the limit of processes.';
      reject(new ServeError('SELF_TEST_CRASHED', 'The probe process could not be started.', { remedy, cause }));
    });
    child.on('exit', (code, killedBy) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      settle(endingOf(code, killedBy));
    });
    const message: ToProbe = { candidate, settings };
    child.send(message, (error) => {
      // A child that died before it was asked reports itself by its exit.
      if (error && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    });
  });
}
