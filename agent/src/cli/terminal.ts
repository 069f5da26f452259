/** What `main` hands in, so that commands never touch the process. */
export interface Terminal {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Resolves on SIGTERM or SIGINT. */
  readonly untilStopped: () => Promise<void>;
}
