/**
 * Labelled rows in the form that training takes: `features` is row-major, `count` × `width` readings; `labels` holds `count` class indices,
 * which point into the world's `labels`.
 */
export interface Examples {
  readonly features: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
  readonly width: number;
}

/** Examples that remember which stream each row came from, since rows of one stream are not independent of each other. */
export interface StreamedExamples extends Examples {
  /** `count` stream indices from 0; the rows of a stream lie together and in the order in which they were read. */
  readonly streams: Int32Array;
}

/** Mean and scale of each feature: `(x − mean) / scale` has mean 0 and standard deviation 1 on the examples they come from. */
export interface Standardization {
  readonly mean: Float32Array;
  readonly scale: Float32Array;
}

/**
 * Population mean and standard deviation by feature, by Welford's update (Technometrics 1962; Knuth, TAOCP vol. 2, 4.2.2), which stays exact for raw
 * conductances in the tens of thousands. A feature that never varies gets scale 1, so that standardized values stay finite.
 */
export function standardization({ features, count, width }: Examples): Standardization {
  const mean = new Float64Array(width);
  const squares = new Float64Array(width);
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < width; column++) {
      const value = features[row * width + column] ?? 0;
      const before = mean[column] ?? 0;
      const after = before + (value - before) / (row + 1);
      mean[column] = after;
      squares[column] = (squares[column] ?? 0) + (value - before) * (value - after);
    }
  }
  const scale = squares.map((sum) => (sum > 0 ? Math.sqrt(sum / count) : 1));
  return { mean: Float32Array.from(mean), scale: Float32Array.from(scale) };
}

/** The examples with every feature as `(x − mean) / scale`; labels and streams stay as they are. */
export function standardize<E extends Examples>(examples: E, { mean, scale }: Standardization): E {
  const { width } = examples;
  const features = examples.features.map((value, index) => {
    const column = index % width;
    return (value - (mean[column] ?? 0)) / (scale[column] ?? 1);
  });
  return { ...examples, features };
}
