/** Frames of product code, innermost first; what Node, SQLite's wrapper and this harness add is left out. */
const PRODUCT = /[\\/](?:agent|control-plane|shared)[\\/]dist[\\/]/;
const FRAME = /^\s+at (?:async )?(?:(.+?) \()?(?:file:\/\/)?([^()]+?):\d+:\d+\)?$/;
/** Two callers up tell one use of a durable write from another. */
const KEPT_FRAMES = 3;

/**
 * Names the place in the product that called, for example `writeDurablySync < writeMirror < write`: functions, not lines, so that a name survives
 * an edit. undefined when no product code called.
 */
export function codeSite(stack: string): string | undefined {
  const names: string[] = [];
  for (const line of stack.split('\n')) {
    const [, name, file] = FRAME.exec(line) ?? [];
    if (file === undefined || !PRODUCT.test(file)) continue;
    names.push((name ?? 'anonymous').replace(/^(?:Object|new) /, '').replace(/^Object\./, ''));
    if (names.length === KEPT_FRAMES) break;
  }
  return names.length === 0 ? undefined : names.join(' < ');
}
