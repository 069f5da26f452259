import type { LauncherMessage } from '../launcher/index.js';

/** The launcher that started this agent (docs/adr/0010-agent-releases.md). */
export interface LauncherChannel {
  /** Folder with the record of the slots and the delivered versions. */
  readonly stateDir: string;
  /** Name of the slot that runs. */
  readonly slot: string;
  say(message: LauncherMessage): void;
}

/** What `main` hands in, so that commands never touch the process. */
export interface Terminal {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Absent where something else starts the agent: a terminal, a container, a simulation. */
  readonly launcher?: LauncherChannel | undefined;
  /** Resolves on SIGTERM or SIGINT, and when the launcher is gone: the next one starts an agent of its own. */
  readonly untilStopped: () => Promise<void>;
}
