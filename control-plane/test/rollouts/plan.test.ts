import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceId, newRolloutId, RolloutId } from '@drover/shared/ids';
import { assignCohorts, matchControls, stageSizes, type Candidate } from '../../src/rollouts/plan.js';

const fleet = (sites: readonly number[]): Candidate[] =>
  sites.map((site, index) => ({
    id: DeviceId(`device-${index}`),
    hardwareClass: 'cpu',
    attributes: { site: `site-${site}` },
  }));

const sites = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 60 });

describe('assignCohorts', () => {
  it('when it is asked again, in whatever order the devices come, it gives the same positions', () => {
    fc.assert(
      fc.property(sites, (given) => {
        const id = newRolloutId();
        const devices = fleet(given);
        expect(assignCohorts(id, [...devices].reverse())).toEqual(assignCohorts(id, devices));
      }),
    );
  });

  it('when the rollout is another, it draws other canaries', () => {
    const devices = fleet(Array.from({ length: 50 }, () => 0));
    const first = assignCohorts(RolloutId('00000000-0000-4000-8000-000000000001'), devices);
    const second = assignCohorts(RolloutId('00000000-0000-4000-8000-000000000002'), devices);
    expect(first.slice(0, 5)).not.toEqual(second.slice(0, 5));
  });

  it('when sites differ in size, every prefix holds each site in proportion, to within one device', () => {
    fc.assert(
      fc.property(sites, (given) => {
        const assigned = assignCohorts(newRolloutId(), fleet(given));
        for (const stratum of new Set(assigned.map((device) => device.stratum))) {
          const share = assigned.filter((device) => device.stratum === stratum).length / assigned.length;
          assigned.forEach((_, index) => {
            const inPrefix = assigned.slice(0, index + 1).filter((device) => device.stratum === stratum).length;
            // Systematic sampling of up to four strata: each is off by rounding, its own and that of those placed at the same point.
            expect(Math.abs(inPrefix - share * (index + 1))).toBeLessThanOrEqual(4);
          });
        }
      }),
    );
  });
});

describe('stageSizes', () => {
  it('when shares round to nothing, the first stage still has a device and the last has all', () => {
    const stages = [
      { name: 'canary', share: 0.01 },
      { name: 'half', share: 0.5 },
      { name: 'all', share: 1 },
    ];
    expect(stageSizes(stages, 1)).toEqual([1, 1, 1]);
    expect(stageSizes(stages, 21)).toEqual([1, 11, 21]);
    expect(
      stageSizes(
        [
          { name: 'canary', devices: 3 },
          { name: 'all', share: 1 },
        ],
        2,
      ),
    ).toEqual([2, 2]);
  });

  it('when a share is a decimal fraction, binary rounding adds no device', () => {
    expect(stageSizes([{ name: 'some', share: 0.07 }], 100)).toEqual([7]);
  });
});

describe('matchControls', () => {
  const members = (stratum: string, ...names: string[]) => names.map((name) => ({ deviceId: DeviceId(name), stratum }));

  it('when there are enough, each control serves one device only, and stands at the same site', () => {
    const updated = [...members('north', 'n1', 'n2'), ...members('south', 's1')];
    const waiting = [...members('north', 'n3', 'n4', 'n5', 'n6'), ...members('south', 's2', 's3')];
    const matches = matchControls(updated, waiting);
    const controls = matches.flatMap((match) => match.controls);
    expect(new Set(controls).size).toBe(controls.length);
    expect(matches.map((match) => match.sameStratum)).toEqual([true, true, true]);
    expect(matches.map((match) => match.controls.map((control) => control[0]))).toEqual([
      ['n', 'n'],
      ['n', 'n'],
      ['s', 's'],
    ]);
  });

  it('when a site has no device left, any that waits serves; when none waits, there is no control', () => {
    const [lone] = matchControls(members('north', 'n1'), members('south', 's1', 's2'));
    expect(lone).toMatchObject({ sameStratum: false, controls: ['s1', 's2'] });
    expect(matchControls(members('north', 'n1'), [])).toEqual([{ device: 'n1', controls: [], sameStratum: false }]);
  });

  it('when devices outnumber controls, every device still has one', () => {
    const matches = matchControls(members('north', 'a', 'b', 'c'), members('north', 'x'));
    expect(matches.map(({ controls }) => controls)).toEqual([['x'], ['x'], ['x']]);
  });
});
