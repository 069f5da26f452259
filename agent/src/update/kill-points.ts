/** Called before each persisted write. A test throws here to cut the power at that point. */
export type KillPoint = (name: string) => void;

/**
 * The way to every persisted write of the updater. Once a kill point has thrown, every later one throws as well: as after a real power cut,
 * nothing more reaches the disk.
 */
export interface WriteGate {
  pass(name: string): void;
  /** What cut the power, if something did. */
  cause(): unknown;
}

export function createWriteGate(killPoint: KillPoint): WriteGate {
  let cut: { readonly cause: unknown } | undefined;
  return {
    pass(name) {
      if (cut) throw cut.cause;
      try {
        killPoint(name);
      } catch (cause) {
        cut = { cause };
        throw cause;
      }
    },
    cause: () => cut?.cause,
  };
}
