import type { Statement } from 'better-sqlite3';
import type { ModelName } from '@drover/shared/ids';
import type { SqliteDatabase } from '../../database/index.js';
import type { LabelOutcome, LabelRecord, TruthKind } from '../../serve/recorder.js';
import type { WindowCounts } from '../window-counts.js';

/** Counts of the serving with this id; what is changed in them is stored with the transaction. */
export type CountsOf = (serving: number) => WindowCounts;

/** A row of a sample by its id, which a request of the same row must have. */
interface SampleRow {
  readonly id: number;
  readonly requestId: string;
  readonly row: number;
}

export interface RowTruth extends SampleRow {
  readonly of: TruthKind;
  readonly label: number;
  readonly atMs: number;
  /** It was asked for because the model was unsure. */
  readonly isTargeted: boolean;
}

interface Sample {
  readonly serving: number;
  readonly prediction: number | null;
  readonly label: number | null;
  readonly targeted: 0 | 1;
  readonly value: number | null;
  readonly true_value: number | null;
}

type Became = keyof Omit<LabelOutcome, 'rows'>;

/**
 * Joins ground truth with samples, within the caller's transaction.
 *
 * INVARIANT: a row counts as right or wrong, or by its error, once, by its first label, when ordinary feedback or the answer to a request that was drawn evenly comes for
 * it. The answer to a targeted request alone does not count: it would make the model look worse than it is. Nor does it take the row away from feedback
 * that comes later, which would make it look better.
 */
export class GroundTruth {
  readonly #last: Statement<[{ model: ModelName; requestId: string }], { id: number; row: number }>;
  readonly #sampleAt: Statement<[SampleRow], Sample>;
  readonly #setLabel: Statement<[{ id: number; label: number; atMs: number; targeted: 0 | 1 }]>;
  readonly #setValue: Statement<[{ id: number; label: number; atMs: number }]>;
  readonly #setCounted: Statement<[{ id: number }]>;
  readonly #closeRequest: Statement<[{ id: number; atMs: number }]>;

  constructor(database: SqliteDatabase) {
    const prepare = (sql: string): never => database.prepare(sql) as never;
    // Clients may use an id twice; the newest request of that id is meant.
    this.#last = prepare(
      `SELECT id, row FROM samples WHERE id = (SELECT max(id) FROM samples WHERE request_id = :requestId
       AND serving IN (SELECT id FROM servings WHERE model = :model))`,
    );
    this.#sampleAt = prepare(
      'SELECT serving, prediction, label, targeted, value, true_value FROM samples WHERE id = :id AND request_id = :requestId AND row = :row',
    );
    this.#setLabel = prepare(
      'UPDATE samples SET label = :label, labelled_at_ms = :atMs, targeted = :targeted WHERE id = :id',
    );
    this.#setValue = prepare('UPDATE samples SET true_value = :label, labelled_at_ms = :atMs WHERE id = :id');
    this.#setCounted = prepare('UPDATE samples SET targeted = 0 WHERE id = :id');
    this.#closeRequest = prepare(
      "UPDATE label_requests SET state = 'answered', closed_at_ms = :atMs WHERE sample = :id AND state = 'open'",
    );
  }

  join({ model, requestId, atMs, of, labels }: LabelRecord, countsOf: CountsOf): LabelOutcome {
    const last = this.#last.get({ model, requestId });
    const outcome = { rows: last ? last.row + 1 : 0, joined: 0, repeated: 0, conflicting: 0, gone: 0 };
    if (last && outcome.rows < labels.length) return outcome;
    labels.forEach((label, row) => {
      if (label === null) return;
      // Rows of a request were inserted one after the other.
      const at = { id: (last?.id ?? 0) - (last?.row ?? 0) + row, requestId, row, of };
      const became = last ? this.joinRow({ ...at, label, atMs, isTargeted: false }, countsOf) : 'gone';
      outcome[became] += 1;
    });
    return outcome;
  }

  joinRow(truth: RowTruth, countsOf: CountsOf): Became {
    const { id, requestId, row } = truth;
    const sample = this.#sampleAt.get({ id, requestId, row });
    if (!sample) return 'gone';
    return truth.of === 'classes' ? this.#joinClass(sample, truth, countsOf) : this.#joinValue(sample, truth, countsOf);
  }

  #joinValue({ serving, value, true_value: known }: Sample, { id, label, atMs }: RowTruth, countsOf: CountsOf): Became {
    if (known === null) {
      this.#setValue.run({ id, label, atMs });
      if (value !== null) countsOf(serving).addError(value - label);
      return 'joined';
    }
    if (known === label) return 'repeated';
    countsOf(serving).addConflict();
    return 'conflicting';
  }

  #joinClass(sample: Sample, { id, label, atMs, isTargeted }: RowTruth, countsOf: CountsOf): Became {
    this.#closeRequest.run({ id, atMs });
    const { serving, prediction } = sample;
    if (sample.label === null) {
      this.#setLabel.run({ id, label, atMs, targeted: isTargeted ? 1 : 0 });
      if (prediction !== null && isTargeted) countsOf(serving).addTargeted(prediction === label);
      else if (prediction !== null) countsOf(serving).addLabel(prediction === label);
      return 'joined';
    }
    if (sample.targeted === 1 && !isTargeted) {
      this.#setCounted.run({ id });
      if (prediction !== null) countsOf(serving).addLabel(prediction === sample.label);
    }
    if (sample.label === label) return 'repeated';
    countsOf(serving).addConflict();
    return 'conflicting';
  }
}
