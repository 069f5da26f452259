import { Type, type Static } from 'typebox';

const strict = { additionalProperties: false } as const;
/** Name of an output. */
const output = Type.String({ minLength: 1, maxLength: 200 });
const share = Type.Number({ minimum: 0, maximum: 1 });
const classIndex = Type.Integer({ minimum: 0, maximum: 99_999 });

/** Boxes most that one image is given. */
export const MAX_BOXES = 1_000;

/** How the outputs of a detector are read. */
export const Detection = Type.Object(
  {
    /** Output [images × boxes × 4], or [boxes × 4] of one image. */
    boxes: output,
    /** Output [images × boxes × classes], or [images × boxes] with one score for each box. */
    scores: output,
    /** Output [images × boxes] of class indices, where there is one score for each box; without it they are all of class 0. */
    classes: Type.Optional(output),
    /** Output [images]: only so many of the first boxes count. */
    count: Type.Optional(output),
    /** Two corners; a corner with width and height; or the centre with width and height. */
    format: Type.Enum(['xyxy', 'yxyx', 'xywh', 'cxcywh']),
    /** Shares of the image's width and height, or pixels. */
    coordinates: Type.Enum(['normalised', 'pixels']),
    /** A box counts for a class from this score on. */
    scoreThreshold: share,
    /** A class that stands for nothing. */
    background: Type.Optional(classIndex),
    /** Of two boxes of a class whose IoU is larger, only that with the higher score is kept. Absent where the model does so itself. */
    maxOverlap: Type.Optional(share),
    /** Of an image, those with the highest scores. */
    maxBoxes: Type.Integer({ minimum: 1, maximum: MAX_BOXES }),
  },
  strict,
);
export type Detection = Static<typeof Detection>;

export const Segmentation = Type.Object(
  {
    output,
    /** A score for each class and pixel, or the index of each pixel's class. */
    holds: Type.Enum(['scores', 'classes']),
    /** Where the axis of the classes stands: [images × classes × height × width] or [images × height × width × classes]. The axis of images may be missing. */
    channels: Type.Optional(Type.Enum(['first', 'last'])),
    /** Where there is one score for each pixel: above it a pixel is of class 1, else of class 0. */
    threshold: Type.Optional(Type.Number()),
  },
  strict,
);
export type Segmentation = Static<typeof Segmentation>;

export const Regression = Type.Object(
  {
    outputs: Type.Array(output, { minItems: 1, maxItems: 16 }),
    /** What the values are in, once they are multiplied by the scale. */
    unit: Type.Optional(Type.String({ minLength: 1, maxLength: 32 })),
    /** 1 unless given. */
    scale: Type.Optional(Type.Number()),
  },
  strict,
);
export type Regression = Static<typeof Regression>;

export const Anomaly = Type.Object(
  {
    /** Output with one number for each row. */
    score: output,
    threshold: Type.Number(),
    /** On which side of the threshold a row is an anomaly; the threshold itself is normal. */
    anomalous: Type.Enum(['above', 'below']),
  },
  strict,
);
export type Anomaly = Static<typeof Anomaly>;

/**
 * What a model does (docs/protocol.md, section 3): by it outputs are decoded and compared. Of `detection`, `segmentation`, `regression` and `anomaly` at most
 * the one is there that `type` names. Where it is missing, and for a classification without `scores`, outputs are plain tensors.
 */
export const Task = Type.Object(
  {
    type: Type.Enum(['classification', 'regression', 'detection', 'segmentation', 'anomaly', 'tensors']),
    /** Classification: the output that holds one score per class. */
    scores: Type.Optional(output),
    /** Names of the classes in their order; that of the background included. */
    labels: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 100 }), { minItems: 1, maxItems: 100_000 }),
    ),
    detection: Type.Optional(Detection),
    segmentation: Type.Optional(Segmentation),
    regression: Type.Optional(Regression),
    anomaly: Type.Optional(Anomaly),
  },
  strict,
);
export type Task = Static<typeof Task>;
