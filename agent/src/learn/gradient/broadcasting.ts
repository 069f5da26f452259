import type { GraphWriter, Shape } from './writer.js';

/** Multidirectional broadcasting (ONNX, docs/Broadcasting.md). @throws Error when the shapes do not fit */
export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw new Error(`the shapes [${a.join(', ')}] and [${b.join(', ')}] do not broadcast`);
  });
}

/** The adjoint of broadcasting `to` to `from`: sums the gradient over the axes along which the value was repeated. */
export function sumTo(writer: GraphWriter, gradient: string, from: Shape, to: Shape): string {
  const added = from.length - to.length;
  const axes = from.flatMap((size, axis) => (axis < added || (to[axis - added] === 1 && size !== 1) ? [axis] : []));
  if (axes.length === 0) return gradient;
  const summed = writer.reduceSum(gradient, axes, false);
  return from.length - axes.length === to.length ? summed : writer.reshape(summed, to);
}
