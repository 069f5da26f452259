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
