import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import type { Envelope } from '@drover/shared/trust';

/** What the recorded device was given; only its hash is in a database. */
export const CLAIM_TOKEN = 'claim_of-the-recorded-device';

/** What an agent of one minor version sends, and the schemas by which it reads what it is sent. */
export interface Recording {
  /** For example `0.1`. */
  readonly minor: string;
  readonly enrolment: Envelope;
  readonly reports: readonly Envelope[];
  readonly understands: { readonly order: TSchema; readonly grant: TSchema };
}

export const recordings = (): Recording[] =>
  readdirSync(import.meta.dirname, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.startsWith('agent-'))
    .map(({ name }) => {
      const read = (file: string): unknown =>
        JSON.parse(readFileSync(join(import.meta.dirname, name, `${file}.json`), 'utf8'));
      return {
        minor: name.slice('agent-'.length),
        enrolment: read('enrolment') as Envelope,
        reports: read('reports') as Envelope[],
        understands: read('understands') as Recording['understands'],
      };
    });
