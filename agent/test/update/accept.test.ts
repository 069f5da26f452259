import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { compareVersions, DeviceId, digestOf, Version } from '@drover/shared/ids';
import { AGENT_MODEL, trialOf } from '@drover/shared/manifest';
import { verifyDeployment, type AcceptanceFacts } from '../../src/update/accept.js';
import { device, hardwareClass, orderFor, trial } from './fixtures/releases.js';

const releaseOf = (version: string) => ({ version: Version(version), digest: digestOf(Buffer.from(version)) });
const nowMs = Date.UTC(2026, 0, 2);
const facts: AcceptanceFacts = {
  deviceId: device,
  hardwareClass,
  epoch: 1,
  nowMs,
  accepted: { epoch: 1, counter: 5 },
  running: releaseOf('1.1.0'),
};
const order = (change: Parameters<typeof orderFor>[1] = {}, version = '1.2.0') =>
  orderFor({ release: releaseOf(version) }, { epoch: 1, counter: 6, ...change });
const terms = { mode: 'split', share: 0.1, until: nowMs + 1 } as const;
const grant = { from: releaseOf('1.1.0'), to: releaseOf('1.0.0'), reason: 'bad', expiresAt: nowMs + 1, cohort: 'all' };

describe('when a signed order arrives', () => {
  it.each([
    ['for another device', order({ deviceId: DeviceId('pump-8') }), 'DEPLOYMENT_WRONG_DEVICE'],
    ['for other hardware', order({ hardwareClass: 'gpu' }), 'DEPLOYMENT_WRONG_HARDWARE'],
    ['that says how to try a release, and is no trial', order({ trial: terms }), 'DEPLOYMENT_WRONG_TERMS'],
    ['for a trial that does not say how', order({ model: trial }), 'DEPLOYMENT_WRONG_TERMS'],
    ['for a trial with a way back', order({ model: trial, trial: terms, downgrade: grant }), 'DEPLOYMENT_WRONG_TERMS'],
    ['for a trial of what is no model', order({ model: trialOf(AGENT_MODEL), trial: terms }), 'DEPLOYMENT_WRONG_TERMS'],
    ['with the last number again', order({ counter: 5 }), 'DEPLOYMENT_REPLAYED'],
    ['of an older epoch', order({ epoch: 0, counter: 99 }), 'DEPLOYMENT_REPLAYED'],
    ['of an epoch that no statement opened', order({ epoch: 2, counter: 1 }), 'DEPLOYMENT_EPOCH_UNPROVEN'],
    ['that expires now', order({ expiresAt: nowMs }), 'DEPLOYMENT_EXPIRED'],
    ['backwards without a grant', order({}, '1.0.0'), 'DEPLOYMENT_ROLLBACK_REFUSED'],
    [
      'with a grant from another release',
      order({ downgrade: { ...grant, from: releaseOf('1.1.1') } }, '1.0.0'),
      'DEPLOYMENT_ROLLBACK_REFUSED',
    ],
    [
      'with a grant to another release',
      order({ downgrade: { ...grant, to: releaseOf('0.9.0') } }, '1.0.0'),
      'DEPLOYMENT_ROLLBACK_REFUSED',
    ],
    [
      'with a grant that expires now',
      order({ downgrade: { ...grant, expiresAt: nowMs } }, '1.0.0'),
      'DEPLOYMENT_ROLLBACK_REFUSED',
    ],
  ])('refuses one %s', (_what, refused, code) => {
    expect(() => verifyDeployment(refused, facts)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it.each([
    ['forwards', order()],
    ['for the running version again', order({}, '1.1.0')],
    ['backwards with its grant', order({ downgrade: grant }, '1.0.0')],
    ['for a trial', order({ model: trial, trial: terms })],
  ])('accepts one %s', (_what, accepted) => {
    expect(() => verifyDeployment(accepted, facts)).not.toThrow();
  });

  it('when a statement has opened a higher epoch, accepts a low counter of it and nothing of the old one', () => {
    const opened = { ...facts, epoch: 2 };
    expect(() => verifyDeployment(order({ epoch: 2, counter: 1 }), opened)).not.toThrow();
    expect(() => verifyDeployment(order({ epoch: 1, counter: 99 }), opened)).toThrow(
      expect.objectContaining({ code: 'DEPLOYMENT_REPLAYED' }) as Error,
    );
  });

  it('refuses to go below the floor of the publisher, grant or not', () => {
    const revert = order({ downgrade: grant }, '1.0.0');
    expect(() => verifyDeployment(revert, { ...facts, revertFloor: Version('1.0.1') })).toThrow(
      expect.objectContaining({ code: 'DEPLOYMENT_BELOW_REVERT_FLOOR' }) as Error,
    );
    expect(() => verifyDeployment(revert, { ...facts, revertFloor: Version('1.0.0') })).not.toThrow();
  });

  it('accepts each number at most once and never an older version without a grant, whatever arrives', () => {
    const arbitraryOrder = fc.record({
      epoch: fc.nat(3),
      /** Does a statement of the root keys open this epoch before the order comes? */
      opens: fc.boolean(),
      counter: fc.integer({ min: 1, max: 9 }),
      version: fc.constantFrom('1.0.0', '1.1.0', '2.0.0-rc.1', '2.0.0'),
    });
    fc.assert(
      fc.property(fc.array(arbitraryOrder, { maxLength: 30 }), (orders) => {
        let known: Pick<AcceptanceFacts, 'accepted' | 'running'> = {};
        const seen = new Set<string>();
        let epoch = 0;
        for (const { version, opens, ...number } of orders) {
          if (opens) epoch = Math.max(epoch, number.epoch);
          const next = orderFor({ release: releaseOf(version) }, number);
          try {
            verifyDeployment(next, { deviceId: device, hardwareClass, epoch, nowMs, ...known });
          } catch {
            continue;
          }
          expect(number.epoch).toBe(epoch);
          expect(seen).not.toContain(JSON.stringify(number));
          seen.add(JSON.stringify(number));
          expect(
            compareVersions(next.release.version, known.running?.version ?? next.release.version),
          ).toBeGreaterThanOrEqual(0);
          known = { accepted: number, running: next.release };
        }
      }),
    );
  });
});
