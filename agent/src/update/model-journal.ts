import type { ModelName } from '@drover/shared/ids';
import type { Journal, JournalChange, ModelRecord, UpdateRecord } from './journal.js';

/** What the journal says of one model. */
export class ModelJournal {
  readonly #journal: Journal;
  readonly #model: ModelName;

  constructor(journal: Journal, model: ModelName) {
    this.#journal = journal;
    this.#model = model;
  }

  get record(): ModelRecord {
    return this.#journal.models.get(this.#model) ?? {};
  }
  get update(): UpdateRecord | undefined {
    return this.#journal.updates.get(this.#model);
  }

  inProgress(): UpdateRecord {
    const { update } = this;
    if (!update) throw new Error(`No update of ${this.#model} is in progress.`);
    return update;
  }

  /** On disk when it returns. */
  write(name: string, change: Omit<JournalChange, 'model'>): void {
    this.#journal.write(name, { model: this.#model, ...change });
  }
}
