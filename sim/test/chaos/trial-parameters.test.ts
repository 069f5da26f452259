import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '@drover/shared/ids';
import { signReport, type StateBody } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair } from '@drover/shared/trust';
import { TrialParameters } from '../../src/chaos/campaign/trial-parameters.js';
import type { LifeEvent } from '../../src/chaos/device/plan.js';
import { createModelPool, type ModelPool } from '../../src/chaos/releases/model-pool.js';
import {
  createPublisher,
  HARDWARE_CLASS,
  TRIAL_DEVICE,
  TRIAL_PARAMETERS,
  type Published,
} from '../../src/chaos/releases/releases.js';

const signer = bulkSigner(createKeyPair('device'));
const other = digestOf(Buffer.from('other'));
let pool: ModelPool;
let published: Published;
let parameters: TrialParameters;
beforeAll(async () => void (pool = await createModelPool()));
beforeEach(() => {
  published = createPublisher(pool).publishParameters();
  parameters = new TrialParameters();
  parameters.knows(published);
});

interface Facts {
  readonly loaded?: Digest;
  readonly given?: Digest;
  readonly file?: Digest;
  readonly isCommitted?: boolean;
  /** In this life; else it was before. */
  readonly isAcknowledged?: boolean;
}
function judge({ loaded, given, file, isCommitted = false, isAcknowledged = isCommitted }: Facts): string[] {
  const { release } = published;
  const state: StateBody['models'][number] = {
    model: TRIAL_PARAMETERS,
    update: { state: 'idle' },
    ...(loaded && { running: { release, loaded, provider: { requested: ['cpu'], actual: 'cpu' } } }),
    ...(isCommitted && { lastOutcome: { deploymentId: 'a' as never, release, outcome: 'committed' } }),
  };
  const body = { agentVersion: '0.0.0', hardwareClass: HARDWARE_CLASS, attributes: {}, models: [state] };
  const frame = { protocol: 1, kind: 'state', deviceId: TRIAL_DEVICE, sequence: 1, at: 0, body } as const;
  const bytesBase64 = signReport(frame, signer).toString('base64');
  const events: LifeEvent[] = [
    ...(isAcknowledged ? [{ event: 'acknowledged', deploymentId: 'a', tookMs: 1 } as const] : []),
    { event: 'report', bytesBase64 },
    {
      event: 'examined',
      atStep: 0,
      agentVersion: '1.0.0',
      answer: [1],
      parameters: { ...(given && { given }), ...(file && { file }) },
    },
  ];
  return parameters.judge({ events, ending: 'ended', complaints: '' }).map(({ kind }) => kind);
}

describe('when what applications get as parameters is judged', () => {
  it('finds nothing wrong with those that are reported, given and in the file, nor with none', () => {
    const { loaded } = published;
    expect(judge({})).toEqual([]);
    expect(judge({ loaded, given: loaded, file: loaded, isCommitted: true })).toEqual([]);
  });

  it('calls it a lie when others are given than are reported, or lie in the file', () => {
    const { loaded } = published;
    expect(judge({ loaded, given: other, file: other })).toEqual(['lie']);
    expect(judge({ given: other, file: other })).toEqual(['lie']);
    expect(judge({ loaded, given: loaded })).toEqual(['lie']);
  });

  it('calls it a lie when the values are not those of the site', () => {
    expect(judge({ loaded: other, given: other, file: other })).toEqual(['lie']);
  });

  it('calls it a lie when what was committed is not given any more, unless a file was damaged', () => {
    const { loaded } = published;
    judge({ loaded, given: loaded, file: loaded, isCommitted: true });
    expect(judge({})).toEqual(['lie']);
    parameters.forget();
    expect(judge({})).toEqual([]);
    expect(judge({ isCommitted: true, isAcknowledged: false })).toEqual([]);
    expect(judge({ isCommitted: true, isAcknowledged: true })).toEqual(['lie']);
  });

  it('takes an order for carried out that was never acknowledged, where the device says so', () => {
    const { loaded } = published;
    judge({ loaded, given: loaded, file: loaded, isCommitted: true, isAcknowledged: false });
    expect(judge({})).toEqual([]);
    parameters.isOrdered('a');
    judge({ loaded, given: loaded, file: loaded, isCommitted: true, isAcknowledged: false });
    expect(judge({})).toEqual(['lie']);
  });
});
