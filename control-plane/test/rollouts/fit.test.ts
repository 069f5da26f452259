import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Version, type RolloutId } from '@drover/shared/ids';
import { parametersOf, type Manifest } from '@drover/shared/manifest';
import { assembleParametersRelease } from '@drover/shared/release';
import { audit } from '../../src/governance/index.js';
import { withdrawRelease } from '../../src/registry/publish.js';
import { parametersView } from '../../src/registry/site-values.js';
import { createWorld, MODEL, request, until, type ScriptedDevice, type World } from './world.js';

const line = parametersOf(MODEL);
const byFailures = { gate: { ...request('1.0.0').gate, metric: 'failures' as const } };
const ofParameters = (version: string) => ({ ...request(version), ...byFailures, model: line });

describe('what devices could only refuse', () => {
  let world: World;
  let device: ScriptedDevice;
  beforeEach(async () => {
    world = await createWorld();
    await world.publish('1.0.0');
    await world.publish('2.0.0');
    for (const version of ['1.0.0', '1.1.0']) await publish(version);
    device = await world.device('pump-7', 'hall');
  });
  afterEach(() => world.close());

  async function publish(version: string): Promise<void> {
    const { manifest, manifestBytes, digest } = assembleParametersRelease(
      {
        model: MODEL,
        compatible: '^1.0.0',
        parameters: { threshold: { type: 'number', default: 0.5 } },
        sites: { hall: { threshold: version === '1.0.0' ? 0.6 : 0.7 } },
      },
      { version: Version(version), createdAt: new Date(0) },
    );
    await world.db
      .insertInto('releases')
      .values({
        digest,
        model: manifest.model,
        version: manifest.version,
        parent: null,
        manifest: manifestBytes.toString('utf8'),
        published_at: 0,
        published_by: 'test',
        withdrawn_at: null,
      })
      .execute();
  }
  const says = (takes: string[] | null) =>
    world.db
      .updateTable('device_states')
      .set({ takes: takes === null ? null : JSON.stringify(takes) })
      .where('device_id', '=', device.id)
      .execute();
  const create = (wanted: ReturnType<typeof request>): Promise<RolloutId> => world.engine.create(wanted, 'anna');

  it('when an agent does not know parameters, is refused with its name, and nothing is ordered', async () => {
    await says(null);
    await expect(create(ofParameters('1.0.0'))).rejects.toMatchObject({
      code: 'ROLLOUT_KIND_NOT_TAKEN',
      message: expect.stringContaining('pump-7') as string,
    });
    expect(device.orders).toEqual([]);
  });

  it('when an agent does not read a part of the manifest, is refused with that part, and not where it does', async () => {
    await world.db.transaction().execute(async (trx) => {
      const found = await trx.selectFrom('releases').select('manifest').where('model', '=', MODEL).where('version', '=', Version('2.0.0')).executeTakeFirstOrThrow(); // prettier-ignore
      const manifest = JSON.parse(found.manifest) as Manifest;
      const [input] = manifest.variants[0]?.signature.inputs ?? [];
      const inputs = { action: 'record', inputs: [{ name: input?.name ?? '', rules: [{ rule: 'present' }] }] };
      const changed = JSON.stringify({ ...manifest, contract: { ...manifest.contract, inputs } });
      await trx.updateTable('releases').set({ manifest: changed }).where('model', '=', MODEL).where('version', '=', Version('2.0.0')).execute(); // prettier-ignore
    });
    await says(null);
    await expect(create(request('2.0.0'))).rejects.toMatchObject({
      code: 'ROLLOUT_KIND_NOT_TAKEN',
      message: expect.stringContaining('pump-7 cannot read a manifest with "contract.inputs"') as string,
    });
    await says(['model', 'contract.inputs']);
    expect(await world.stateOf(await create(request('2.0.0')))).not.toBe('');
  });

  it('when the agent has become older since, the order is held back until it takes it, and that is on record', async () => {
    await says(['model', 'parameters']);
    await create(ofParameters('1.0.0'));
    await says(['model']);
    await world.engine.tick();
    expect(device.orders).toEqual([]);
    const entries = await audit(world.db).list({ limit: 1000 });
    expect(entries.map(({ action }) => action)).toContain('order.not-taken');
    await says(['model', 'parameters']);
    await world.director.settle(device.id);
    await until(
      () => Promise.resolve(device.orders.length > 0),
      () => new Promise((resolve) => setTimeout(resolve, 5)),
    );
    expect(device.orders[0]).toMatchObject({ model: line, site: 'hall', release: { version: '1.0.0' } });
  });

  it('when they would be judged by an accuracy that they have not, are refused', async () => {
    await says(['model', 'parameters']);
    const byAccuracy = { ...ofParameters('1.0.0'), gate: { ...byFailures.gate, metric: 'accuracy' as const } };
    await expect(create(byAccuracy)).rejects.toMatchObject({ code: 'ROLLOUT_INVALID' });
  });

  it('when a model would leave devices without parameters, is refused unless that is wanted', async () => {
    const inForce = await parametersView(world.db, { model: MODEL, version: Version('1.0.0') });
    await world.db
      .insertInto('device_models')
      .values({
        device_id: device.id,
        model: line,
        running_version: inForce.version,
        running_digest: inForce.digest,
        running: null,
        update_state: 'idle',
        update_deployment_id: null,
        accepted_epoch: null,
        accepted_counter: null,
        outcome: null,
        outcome_deployment_id: null,
        outcome_digest: null,
        outcome_error: null,
        received_at: 0,
      })
      .execute();
    await expect(create(request('2.0.0'))).rejects.toMatchObject({ code: 'ROLLOUT_PARAMETERS_INCOMPATIBLE' });
    expect(await create({ ...request('2.0.0'), withoutParameters: true })).toBeTruthy();
  });

  it('is shown with what each site gets, how many devices stand there, and what has changed', async () => {
    await world.device('press-1', 'yard');
    const view = await parametersView(world.db, { model: MODEL, version: Version('1.1.0') });
    expect(view).toMatchObject({ against: '1.0.0', compatible: '^1.0.0' });
    expect(view.sites).toEqual([
      { devices: 1, values: { threshold: 0.5 }, changes: [] },
      {
        site: 'hall',
        devices: 1,
        values: { threshold: 0.7 },
        changes: [{ name: 'threshold', before: 0.6, after: 0.7 }],
      },
    ]);
  });

  it('is shown beside the newest release below it that its publishers still stand by', async () => {
    await publish('1.2.0');
    await withdrawRelease(world.db, { model: line, version: Version('1.1.0'), by: 'anna', at: 1 });
    expect(await parametersView(world.db, { model: MODEL, version: Version('1.2.0') })).toMatchObject({
      against: '1.0.0',
    });
    await withdrawRelease(world.db, { model: line, version: Version('1.0.0'), by: 'anna', at: 1 });
    expect(await parametersView(world.db, { model: MODEL, version: Version('1.2.0') })).not.toHaveProperty('against');
  });
});
