import { systemClock } from '../../src/host/clock.js';
import { InlineServing } from '../../src/serve/inline/index.js';
import type { Recorder } from '../../src/serve/recorder.js';
import { memoryRecorder } from './memory-recorder.js';

/** Serves on the CPU of this process; an incident fails the test. */
export const testServing = (recorder: Recorder = memoryRecorder()): InlineServing =>
  new InlineServing({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: systemClock,
    recorder,
    onIncident: (error) => {
      throw error;
    },
  });
