import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { standingOf } from './requests.js';

/** What devices would like labelled, and what became of the answers. */
export const labelMetrics =
  (db: Db, now: () => number): MetricsSource =>
  (registry) => {
    const registers = [registry];
    const open = new Gauge({
      name: 'drover_label_requests_open',
      help: 'Requests for labels that wait for an answer.',
      labelNames: ['model', 'reason'] as const,
      registers,
    });
    const answers = new Gauge({
      name: 'drover_label_answers',
      help: 'Answers that are kept, by what became of them on the device; waiting: nothing yet; expired: nothing in time.',
      labelNames: ['model', 'became'] as const,
      registers,
    });
    return async () => {
      open.reset();
      answers.reset();
      const waiting = await db
        .selectFrom('label_requests')
        .select(({ fn }) => ['model', 'reason', fn.countAll<number | string>().as('requests')])
        .where('is_open', '=', 1)
        .where('answered_at', 'is', null)
        .where('expires_at', '>', now())
        .groupBy(['model', 'reason'])
        .execute();
      for (const { model, reason, requests } of waiting)
        // A device chooses the word; a metric must not grow by it.
        open.inc({ model, reason: reason === 'random' || reason === 'targeted' ? reason : 'other' }, Number(requests));
      const told = await db
        .selectFrom('label_requests')
        .select(['model', 'became'])
        .select(({ fn }) => fn.countAll<number | string>().as('requests'))
        .select((row) => row('expires_at', '<=', now()).as('is_over'))
        .where('answered_at', 'is not', null)
        .groupBy(['model', 'became', 'is_over'])
        .execute();
      for (const { model, became, is_over: isOver, requests } of told)
        answers.inc({ model, became: standingOf(became, Boolean(isOver)) }, Number(requests));
    };
  };
