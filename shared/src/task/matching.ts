import { overlap, type DetectedBox } from './boxes.js';

/** Two boxes of one class are the same find from this IoU on (Everingham et al., IJCV 2015, section 4.2). */
export const MIN_OVERLAP = 0.5;

export interface BoxPair {
  readonly expected: DetectedBox;
  readonly actual: DetectedBox;
  readonly iou: number;
}

/**
 * As many pairs of boxes of one class with an IoU of at least `MIN_OVERLAP` as there can be, each box in one pair at most. Begins with the closest pairs and adds others
 * along augmenting paths (Berge 1957; Cormen et al., "Introduction to Algorithms", 4th edition, section 25.1), so that the number of pairs is the
 * same whichever side is called expected.
 */
export function matchBoxes(expected: readonly DetectedBox[], actual: readonly DetectedBox[]): BoxPair[] {
  const edges = expected.flatMap((left, row) =>
    actual.flatMap((right, column) => {
      const iou = left.class === right.class ? overlap(left, right) : 0;
      return iou >= MIN_OVERLAP ? [{ row, column, iou }] : [];
    }),
  );
  edges.sort((left, right) => right.iou - left.iou);
  const neighbours = new Map<number, number[]>();
  for (const { row, column } of edges) neighbours.set(row, [...(neighbours.get(row) ?? []), column]);
  const rowOf = new Map<number, number>();
  const columnOf = new Map<number, number>();
  const pair = (row: number, column: number): void => {
    rowOf.set(column, row);
    columnOf.set(row, column);
  };
  for (const { row, column } of edges) if (!columnOf.has(row) && !rowOf.has(column)) pair(row, column);

  const augment = (row: number, tried: Set<number>): boolean =>
    (neighbours.get(row) ?? []).some((column) => {
      if (tried.has(column)) return false;
      tried.add(column);
      const holder = rowOf.get(column);
      if (holder !== undefined && !augment(holder, tried)) return false;
      pair(row, column);
      return true;
    });
  for (const row of neighbours.keys()) if (!columnOf.has(row)) augment(row, new Set());

  return edges.flatMap(({ row, column, iou }) => {
    const [left, right] = [expected[row], actual[column]];
    return left && right && columnOf.get(row) === column ? [{ expected: left, actual: right, iou }] : [];
  });
}
