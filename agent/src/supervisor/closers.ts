/** Ways to undo what was started; run once, newest first. */
export interface Closers {
  add(close: () => Promise<void> | void): void;
  /** Runs all of them even when some throw, then rejects with what the first of those threw. Calling it again waits for the same end. */
  close(): Promise<void>;
}

export function createClosers(): Closers {
  const closers: (() => Promise<void> | void)[] = [];
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let close = closers.pop(); close; close = closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  return {
    add: (close) => void closers.push(close),
    close: () => (closing ??= closeAll()),
  };
}
