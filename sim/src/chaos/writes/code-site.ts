import { basename } from 'node:path';

/** Frames of product code, innermost first; what Node, SQLite's wrapper and this harness add is left out. */
const PRODUCT = /(?:^|[\\/])(?:agent|control-plane|shared)[\\/]dist[\\/]/;
const FRAME = /^\s+at (?:async )?(?:(.+?) \()?(?:file:\/\/)?([^()]+?):(\d+):\d+\)?$/;
/** Two callers up tell one use of a durable write from another. */
const KEPT_FRAMES = 3;

/** The module that a line of a bundle was made from. */
export interface BundleSources {
  /** Absolute path of the bundle. */
  readonly bundle: string;
  sourceAt(line: number): string;
}

/** esbuild writes the path of each module as a comment of its own above the module's code. */
export function bundleSources(bundle: string, text: string): BundleSources {
  const starts: { readonly line: number; readonly source: string }[] = [];
  text.split('\n').forEach((content, index) => {
    const source = /^\s*\/\/ (\S+\.[cm]?js)$/.exec(content)?.[1];
    if (source !== undefined) starts.push({ line: index + 1, source });
  });
  return { bundle, sourceAt: (line) => starts.findLast((start) => start.line < line)?.source ?? '' };
}

/**
 * Names the place in the product that called, for example `writeDurablySync < writeMirror < write`: functions, not lines, so that a name survives
 * an edit. undefined when no product code called.
 */
export function codeSite(stack: string, sources?: BundleSources): string | undefined {
  const names: string[] = [];
  for (const line of stack.split('\n')) {
    const [, name, file, at] = FRAME.exec(line) ?? [];
    if (file === undefined) continue;
    const source = file === sources?.bundle ? sources.sourceAt(Number(at)) : file;
    if (!PRODUCT.test(source)) continue;
    names.push(toName(name, source));
    if (names.length === KEPT_FRAMES) break;
  }
  return names.length === 0 ? undefined : names.join(' < ');
}

/** Functions without a name are called after their module. */
function toName(name: string | undefined, source: string): string {
  const plain = name?.replace(/^(?:Object|new) /, '').replace(/^(?:Object\.|_)/, '') ?? '';
  return plain === '' || plain.endsWith('<anonymous>') || plain === 'anonymous'
    ? `(${basename(source).replace(/\.[cm]?js$/, '')})`
    : plain;
}
