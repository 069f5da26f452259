import type { Detection } from './schema.js';

/** What was found in an image: two corners, x1 < x2 and y1 < y2. */
export interface DetectedBox {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
  readonly score: number;
  /** Index of its class. */
  readonly class: number;
}

export type Corners = Pick<DetectedBox, 'x1' | 'y1' | 'x2' | 'y2'>;

/** Of four numbers as a detector gives them. @returns undefined for what covers nothing, or is no number */
export function toCorners(
  format: Detection['format'],
  [a, b, c, d]: readonly [number, number, number, number],
): Corners | undefined {
  const corners = CORNERS[format](a, b, c, d);
  const { x1, y1, x2, y2 } = corners;
  return x1 < x2 && y1 < y2 && [x1, y1, x2, y2].every(Number.isFinite) ? corners : undefined;
}

const CORNERS: Readonly<Record<Detection['format'], (a: number, b: number, c: number, d: number) => Corners>> = {
  xyxy: (x1, y1, x2, y2) => ({ x1, y1, x2, y2 }),
  yxyx: (y1, x1, y2, x2) => ({ x1, y1, x2, y2 }),
  xywh: (x, y, width, height) => ({ x1: x, y1: y, x2: x + width, y2: y + height }),
  cxcywh: (x, y, width, height) => ({
    x1: x - width / 2,
    y1: y - height / 2,
    x2: x + width / 2,
    y2: y + height / 2,
  }),
};

/** Intersection over union: 0 to 1. Does not change with the scale of either axis, so that shares and pixels give the same. */
export function overlap(left: Corners, right: Corners): number {
  const width = Math.min(left.x2, right.x2) - Math.max(left.x1, right.x1);
  const height = Math.min(left.y2, right.y2) - Math.max(left.y1, right.y1);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (areaOf(left) + areaOf(right) - both);
}

const areaOf = ({ x1, y1, x2, y2 }: Corners): number => (x2 - x1) * (y2 - y1);

/**
 * The boxes with the highest scores, of which no two of a class overlap by more than `maxOverlap` (greedy non-maximum suppression, as ONNX's
 * NonMaxSuppression does it class by class). Of equal scores the earlier box comes first.
 */
export function strongest(
  candidates: readonly DetectedBox[],
  { maxOverlap, maxBoxes }: Pick<Detection, 'maxOverlap' | 'maxBoxes'>,
): DetectedBox[] {
  const kept: DetectedBox[] = [];
  // Array.sort is stable (ECMA-262, section 23.1.3.30).
  for (const box of [...candidates].sort((left, right) => right.score - left.score)) {
    if (kept.length === maxBoxes) break;
    const isFree =
      maxOverlap === undefined || kept.every((each) => each.class !== box.class || overlap(each, box) <= maxOverlap);
    if (isFree) kept.push(box);
  }
  return kept;
}
