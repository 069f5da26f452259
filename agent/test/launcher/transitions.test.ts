import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_ATTEMPTS, nextStep, phaseOf, type LauncherEvent } from '../../src/launcher/transitions.js';
import { FAILURE_CAUSES, type SlotName, type Slots } from '../../src/launcher/slots.js';

const slot = (version: string) => `${version}-0123456789ab` as SlotName;
const NAMES = ['1.0.0', '1.1.0', '2.0.0', '3.0.0'].map(slot);
const anySlot = fc.constantFrom(...NAMES);

const anySlots: fc.Arbitrary<Slots> = fc.record(
  {
    format: fc.constant('drover.slots/1' as const),
    committed: anySlot,
    factory: anySlot,
    previous: anySlot,
    candidate: fc.record({ slot: anySlot, attempts: fc.nat({ max: 5 }), commitWithinMs: fc.nat() }),
    suspect: fc.constant(true as const),
  },
  { requiredKeys: ['format', 'committed'] },
);
const anyEvent: fc.Arbitrary<LauncherEvent> = fc.oneof(
  fc.constant({ kind: 'launched' } as const),
  fc.record({ kind: fc.constant('unusable' as const), slot: anySlot, detail: fc.string() }),
  fc.record({ kind: fc.constant('stopped' as const), slot: anySlot, wasUp: fc.boolean() }),
  fc.record({
    kind: fc.constant('ended' as const),
    slot: anySlot,
    wasUp: fc.boolean(),
    cause: fc.constantFrom(...FAILURE_CAUSES),
    detail: fc.string(),
    status: fc.nat({ max: 255 }),
  }),
);
const anyFacts = fc.record({
  slots: anySlots,
  event: anyEvent,
  damaged: fc.uniqueArray(anySlot).map((slots) => new Set(slots)),
  nowMs: fc.nat(),
});

describe('whatever happens to the launcher', () => {
  it('a candidate is started only when the record of the step counts that start, and never after its last attempt', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const step = nextStep(facts);
        if (step.kind !== 'start' || step.commitWithinMs === undefined) return;
        expect(step.slot).toBe(facts.slots.candidate?.slot);
        expect(step.record.candidate?.attempts).toBe((facts.slots.candidate?.attempts ?? 0) + 1);
        expect(step.record.candidate?.attempts).toBeLessThanOrEqual(MAX_ATTEMPTS);
        expect(step.check).toBe('whole');
      }),
    );
  });

  it('what is started otherwise is what the record calls committed, and was not found damaged', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const step = nextStep(facts);
        if (step.kind !== 'start' || step.commitWithinMs !== undefined) return;
        expect(step.record.committed).toBe(step.slot);
        expect(facts.damaged.has(step.slot)).toBe(false);
      }),
    );
  });

  it('a start leaves without an agent only when no version is whole', () => {
    fc.assert(
      fc.property(anySlots, fc.nat(), (slots, nowMs) => {
        expect(nextStep({ slots, event: { kind: 'launched' }, damaged: new Set(), nowMs }).kind).toBe('start');
      }),
    );
  });

  it('a candidate that ended by itself is never started again', () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const { event, slots } = facts;
        fc.pre(event.kind === 'ended' && event.slot === slots.candidate?.slot && phaseOf(slots) !== 'settled');
        const step = nextStep(facts);
        expect(step.record.candidate).toBeUndefined();
        if (facts.damaged.has(slots.committed)) return;
        expect(step.record.lastFailure).toMatchObject({ slot: slots.candidate.slot });
      }),
    );
  });
});

it('when the committed version and the one before it are damaged, the installed one runs', () => {
  const [committed, previous, factory] = [slot('2.0.0'), slot('1.1.0'), slot('1.0.0')];
  const step = nextStep({
    slots: { format: 'drover.slots/1', committed, previous, factory },
    event: { kind: 'unusable', slot: previous, detail: 'gone' },
    damaged: new Set([committed, previous]),
    nowMs: 1,
  });
  expect(step).toMatchObject({ kind: 'start', slot: factory, record: { committed: factory } });
});
