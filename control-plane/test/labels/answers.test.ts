import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newLabelRequestId } from '@drover/shared/ids';
import { LABEL_ANSWERS_TAKEN, MAX_LABEL_ANSWERS, openLabelAnswers, type LabelOutcome } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { createDirector } from '../../src/director/index.js';
import { audit } from '../../src/governance/index.js';
import {
  labelMetrics,
  pruneLabels,
  showLabelRequest,
  startLabelDelivery,
  takeAnswers,
  type GivenAnswer,
  type LabelDelivery,
} from '../../src/labels/index.js';
import { createWorld, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';
import { list, request, tell } from './labelled-device.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

describe('answers to requests for labels', () => {
  const key = createKeyPair('director');
  let world: World;
  let release: Release;
  let device: ScriptedDevice;
  let delivery: LabelDelivery;
  let sent: ReturnType<typeof openLabelAnswers>[];
  let isPending: boolean;

  beforeEach(async () => {
    world = await createWorld();
    release = await world.publish('1.0.0', {
      task: { type: 'classification', scores: 'y', labels: ['calm', 'leak', 'fire', '0'] },
    });
    device = await world.device('alpha');
    await say(LABEL_ANSWERS_TAKEN);
    sent = [];
    isPending = false;
    const director = createDirector({
      db: world.db,
      signer: bulkSigner(key),
      recovery: { ...world.recovery, isPending: () => isPending },
      now: () => world.clock.nowMs,
      publisher: {
        publish: (_topic, payload) => {
          sent.push(openLabelAnswers(payload, device.id, { threshold: 1, keys: [publicKeyOf(key)] }));
          return Promise.resolve();
        },
      },
    });
    delivery = startLabelDelivery({
      db: world.db,
      director,
      now: () => world.clock.nowMs,
      onError: (error) => world.errors.push(error),
      retryMs: 10 * MINUTE_MS,
    });
  });
  afterEach(async () => {
    await delivery.close();
    await world.close();
  });

  const say = (...takes: string[]) =>
    device.report('state', { agentVersion: 'test', hardwareClass: 'cpu', attributes: {}, takes, models: [] });
  const outcomes = (...labelOutcomes: LabelOutcome[]) =>
    device.report('telemetry', { windowMs: 1, models: [], labelOutcomes });
  const take = async (...given: GivenAnswer[]) => {
    const taken = await takeAnswers(world.db, given, 'ann', world.clock.nowMs);
    return taken.map((each) => ('error' in each ? each.error.code : each.device));
  };
  const became = async (id: GivenAnswer['id']) =>
    (await showLabelRequest(world.db, id, world.clock.nowMs)).answer?.became;
  const sentIds = () => sent.flat().map(({ id }) => id);

  it('when they name a class, an index or nobody, are taken, sent at once, and stand in the audit log', async () => {
    const [one, two, three, four] = [0, 1, 2, 3].map((row) => request(world, release, { row }));
    if (!one || !two || !three || !four) throw new Error('four requests');
    await list(device, one, two, three, four);
    const given = [
      { id: one.id, label: 'fire' },
      { id: two.id, label: 1 },
      { id: three.id, label: null },
      // A name goes before an index.
      { id: four.id, label: '0' },
    ];
    expect(await take(...given)).toEqual(['alpha', 'alpha', 'alpha', 'alpha']);
    await delivery.send(device.id);
    expect(sent).toHaveLength(1);
    expect(sent[0]?.map(({ label }) => label)).toEqual([2, 1, null, 3]);
    await delivery.send(device.id);
    expect(sent).toHaveLength(1);
    const entries = (await audit(world.db).list()).filter(({ action }) => action === 'label.answer');
    expect(entries.map(({ actor, subject, detail }) => [actor, subject, detail['label']])).toEqual(
      given.map(({ id }, index) => ['ann', id, [2, 1, null, 3][index]]),
    );
    expect(await showLabelRequest(world.db, one.id, world.clock.nowMs)).toMatchObject({
      answer: { label: { index: 2, name: 'fire' }, by: 'ann', became: 'waiting' },
    });
  });

  it('when they fit no class, no request, or contradict the first, are refused one by one; the same again is not', async () => {
    const [one, two] = [request(world, release), request(world, release)] as const;
    await list(device, one, two);
    const unknown = newLabelRequestId();
    expect(
      await take(
        { id: one.id, label: 'smoke' },
        { id: one.id, label: 4 },
        { id: one.id, label: 'leak' },
        { id: one.id, label: 1 },
        { id: one.id, label: null },
        { id: unknown, label: 1 },
        { id: two.id, label: '2' },
      ),
    ).toEqual([
      'LABEL_CLASS_UNKNOWN',
      'LABEL_CLASS_UNKNOWN',
      'alpha',
      'alpha',
      'LABEL_REQUEST_ANSWERED',
      'LABEL_REQUEST_GONE',
      'alpha',
    ]);
    expect((await audit(world.db).list()).filter(({ action }) => action === 'label.answer')).toHaveLength(2);
  });

  it('until the device says what became of one, it is sent again; its first word counts', async () => {
    const [one, two] = [request(world, release), request(world, release)] as const;
    await list(device, one, two);
    await take({ id: one.id, label: 1 }, { id: two.id, label: 1 });
    await delivery.send(device.id);
    await delivery.retry();
    expect(sent).toHaveLength(1);
    await outcomes({ id: one.id, became: 'joined' }, { id: newLabelRequestId(), became: 'joined' });
    await outcomes({ id: one.id, became: 'repeated' });
    world.clock.nowMs += 10 * MINUTE_MS;
    await delivery.retry();
    expect(sentIds()).toEqual([one.id, two.id, two.id]);
    await delivery.welcome(device.id);
    expect(sentIds().slice(3)).toEqual([two.id]);
    await outcomes({ id: two.id, became: 'swallowed' });
    await delivery.welcome(device.id);
    expect(sent).toHaveLength(3);
    expect([await became(one.id), await became(two.id)]).toEqual(['joined', 'other']);
  });

  it('when the request is over, is not sent again, and a late word still counts', async () => {
    const one = request(world, release);
    await list(device, one);
    await take({ id: one.id, label: 1 });
    world.clock.nowMs = one.expiresAt;
    await delivery.welcome(device.id);
    expect([sent, await became(one.id)]).toEqual([[], 'expired']);
    expect(await take({ id: one.id, label: 1 })).toEqual(['alpha']);
    await outcomes({ id: one.id, became: 'gone' });
    expect(await became(one.id)).toBe('gone');
  });

  it('when the device no longer lists it, an answered one is kept and told, and forgotten with old answers', async () => {
    const [one, two] = [request(world, release), request(world, release)] as const;
    await list(device, one, two);
    await take({ id: one.id, label: 1 });
    await tell(device, { open: [], described: [] });
    expect(await became(one.id)).toBe('waiting');
    expect(await take({ id: two.id, label: 1 })).toEqual(['LABEL_REQUEST_GONE']);
    await pruneLabels(world.db, world.clock.nowMs + 89 * DAY_MS);
    expect(await became(one.id)).toBe('waiting');
    await pruneLabels(world.db, world.clock.nowMs + 91 * DAY_MS);
    expect(await take({ id: one.id, label: 1 })).toEqual(['LABEL_REQUEST_GONE']);
  });

  it('when another device speaks of it, changes nothing', async () => {
    const one = request(world, release);
    await list(device, one);
    await take({ id: one.id, label: 1 });
    const other = await world.device('beta');
    await other.report('telemetry', { windowMs: 1, models: [], labelOutcomes: [{ id: one.id, became: 'joined' }] });
    expect(await became(one.id)).toBe('waiting');
  });

  it('when the agent reads no such document, or a recovery is pending, nothing is sent until that has changed', async () => {
    const one = request(world, release);
    await list(device, one);
    await take({ id: one.id, label: 1 });
    await say('model');
    await delivery.send(device.id);
    await say(LABEL_ANSWERS_TAKEN);
    isPending = true;
    await delivery.welcome(device.id);
    expect(sent).toEqual([]);
    isPending = false;
    await delivery.welcome(device.id);
    expect(sentIds()).toEqual([one.id]);
  });

  it('when there are many, go in documents that a device reads', async () => {
    const many = Array.from({ length: MAX_LABEL_ANSWERS + 1 }, () => request(world, release));
    await list(device, ...many);
    await take(...many.map(({ id }) => ({ id, label: 1 })));
    await delivery.send(device.id);
    expect(sent.map(({ length }) => length)).toEqual([MAX_LABEL_ANSWERS, 1]);
  });

  it('metrics count what waits, and the answers by what became of them', async () => {
    const [one, two, three, four] = [
      request(world, release),
      request(world, release),
      request(world, release, { reason: 'targeted' }),
      request(world, release, { reason: 'a newer word' }),
    ] as const;
    await list(device, one, two, three, four);
    await take({ id: one.id, label: 1 }, { id: two.id, label: 2 });
    await outcomes({ id: one.id, became: 'joined' });
    const registry = new Registry();
    await labelMetrics(world.db, () => world.clock.nowMs)(registry)();
    const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('drover_label'));
    expect(lines.sort()).toEqual([
      'drover_label_answers{model="gas-classifier",became="joined"} 1',
      'drover_label_answers{model="gas-classifier",became="waiting"} 1',
      'drover_label_requests_open{model="gas-classifier",reason="other"} 1',
      'drover_label_requests_open{model="gas-classifier",reason="targeted"} 1',
    ]);
  });
});
