import { tmpdir } from 'node:os';
import type { Terminal } from '../src/cli/terminal.js';

/** A terminal of a test, at which nobody sits: what is said goes to `said`, whichever way, and whoever asks fails. */
export const unattendedTerminal = (
  said: (text: string) => void,
  environment: Readonly<Record<string, string>> = {},
): Terminal => ({
  environment,
  homeDirectory: tmpdir(),
  interactive: false,
  interrupted: new AbortController().signal,
  out: said,
  err: said,
  ask: () => Promise.reject(new Error('nobody is asked')),
  askSecret: () => Promise.reject(new Error('nobody is asked')),
  sleep: () => Promise.resolve(),
});
