import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelName, Version } from '../../src/ids/index.js';
import {
  AGENT_MODEL,
  allFiles,
  isCompatible,
  isOfKind,
  kindOf,
  modelOfParameters,
  parametersOf,
  parseManifest,
  parseRelease,
  siteValues,
  valuesFor,
  type Parameter,
} from '../../src/manifest/index.js';
import { assembleParametersRelease, type ParametersDraft } from '../../src/release/index.js';

const draft: ParametersDraft = {
  model: ModelName('gas-classifier'),
  compatible: '^1.2.0',
  parameters: {
    threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 },
    'crop.left': { type: 'integer', unit: 'px', minimum: 0, default: 0 },
    alarm: { type: 'boolean', default: true },
    'label.ethanol': { type: 'enum', values: ['accept', 'reject'], default: 'accept' },
    station: { type: 'string', maxLength: 8, default: '' },
  },
  sites: { hall: { threshold: 0.8, 'label.ethanol': 'reject' }, yard: {} },
};
const assemble = (change: object = {}) =>
  assembleParametersRelease({ ...draft, ...change }, { version: Version('1.0.0'), createdAt: new Date(0) });
const { manifest } = assemble();
const refused = expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error;

describe('the name of a release', () => {
  it('says of which kind it is', () => {
    expect(kindOf(draft.model)).toBe('model');
    expect(kindOf(AGENT_MODEL)).toBe('agent');
    expect(kindOf(parametersOf(draft.model))).toBe('parameters');
    expect(modelOfParameters(parametersOf(draft.model))).toBe(draft.model);
  });

  it('when a model has a name that leaves no room, is refused', () => {
    expect(() => parametersOf(ModelName('m'.repeat(60)))).toThrow(
      expect.objectContaining({ code: 'ID_INVALID' }) as Error,
    );
  });

  it('when it says another kind than the manifest, is refused', () => {
    const renamed = Buffer.from(JSON.stringify({ ...manifest, model: 'gas-classifier' }));
    expect(() => parseRelease(renamed)).toThrow(/reserved|another kind/);
    expect(() => parseManifest(Buffer.from(JSON.stringify(manifest)))).toThrow(refused);
  });
});

describe('the manifest of parameters', () => {
  it('when it was assembled, is read as one and names no files', () => {
    const read = parseRelease(Buffer.from(JSON.stringify(manifest)));
    expect(isOfKind('parameters', read)).toBe(true);
    expect(allFiles(read)).toEqual([]);
  });

  it.each([
    [
      'a value of a site is beyond its bounds',
      { sites: { hall: { threshold: 1.5 } } },
      /hall\/threshold must be at most 1/,
    ],
    ['a value has another type', { sites: { hall: { 'crop.left': 1.5 } } }, /must be an integer/],
    ['a value is none of the enum', { sites: { hall: { 'label.ethanol': 'maybe' } } }, /accept, reject/],
    ['a text is too long', { sites: { hall: { station: '123456789' } } }, /at most 8 characters/],
    ['a site sets what is not declared', { sites: { hall: { speed: 1 } } }, /hall\/speed is not declared/],
    [
      'a default is beyond its bounds',
      { parameters: { t: { type: 'number', maximum: 1, default: 2 } }, sites: {} },
      /default/,
    ],
    [
      'bounds do not fit the type',
      { parameters: { t: { type: 'boolean', maximum: 1, default: true } }, sites: {} },
      /cannot have/,
    ],
    [
      'nothing meets the bounds',
      { parameters: { t: { type: 'number', minimum: 2, maximum: 1, default: 1 } }, sites: {} },
      /above/,
    ],
    [
      'an enum names a value twice',
      { parameters: { t: { type: 'enum', values: ['a', 'b', 'a'], default: 'a' } }, sites: {} },
      /one of its values twice/,
    ],
    ['an enum lacks its values', { parameters: { t: { type: 'enum', default: 'a' } }, sites: {} }, /lacks "values"/],
    [
      'a name is none',
      { parameters: { 'no name': { type: 'deep', default: {} } }, sites: {} },
      /parameters.* is not a known key/,
    ],
    ['a site has a name that is none', { sites: { '': { threshold: {} } } }, /sites.* is not a known key/],
    ['the range is none', { compatible: 'the newest' }, /range/],
  ])('when %s, is refused and says where', (_, change, where) => {
    expect(() => assemble(change)).toThrow(refused);
    expect(() => assemble(change)).toThrow(where);
  });

  it('when a number in it is beyond all doubles, is refused', () => {
    const text = JSON.stringify(manifest).replace('"threshold":0.8', '"threshold":1e999');
    expect(() => parseRelease(Buffer.from(text))).toThrow(refused);
  });

  it('when several values are wrong, names them all', () => {
    expect(() => assemble({ sites: { hall: { threshold: 2 }, yard: { station: 5 } } })).toThrow(/hall.*yard/);
  });

  it.each([
    ['1.2.0', true],
    ['1.9.9', true],
    ['1.3.0-rc.1', true],
    ['1.1.9', false],
    ['2.0.0', false],
  ])('when the model is %s, is for it: %s', (version, isFor) => {
    expect(isCompatible(manifest, Version(version))).toBe(isFor);
  });
});

describe('what a site gets', () => {
  it('is its own values over the defaults', () => {
    expect(valuesFor(manifest, 'hall')).toEqual({
      threshold: 0.8,
      'crop.left': 0,
      alarm: true,
      'label.ethanol': 'reject',
      station: '',
    });
  });

  it.each([undefined, 'yard', 'nowhere', 'constructor', '__proto__'])(
    'when nothing is said about it (%s), is the defaults',
    (site) => expect(valuesFor(manifest, site)).toEqual(valuesFor(manifest, undefined)),
  );

  it('when parameters come and go, whatever their names, shows both', () => {
    const of = (parameters: object) => assemble({ parameters, sites: {} }).manifest;
    const flag = { type: 'boolean', default: true };
    expect(siteValues(of({ constructor: flag }), of({ toString: flag }))[0]?.changes).toEqual([
      { name: 'toString', before: true },
      { name: 'constructor', after: true },
    ]);
  });

  it('is shown with what differs from the release before, also for sites that only that one named', () => {
    const after = assemble({ sites: { hall: { threshold: 0.9 } } }).manifest;
    const before = assemble({ sites: { hall: { threshold: 0.8 }, yard: { alarm: false } } }).manifest;
    expect(siteValues(after, before).map(({ site, changes }) => ({ site, changes }))).toEqual([
      { site: undefined, changes: [] },
      { site: 'hall', changes: [{ name: 'threshold', before: 0.8, after: 0.9 }] },
      { site: 'yard', changes: [{ name: 'alarm', before: false, after: true }] },
    ]);
  });
});

const numberIn = fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.nat(1000)).chain(([minimum, width]) =>
  fc.record({
    declared: fc.constant<Parameter>({ type: 'integer', minimum, maximum: minimum + width, default: minimum }),
    value: fc.integer({ min: minimum, max: minimum + width }),
    wrong: fc.oneof(
      fc.integer({ min: minimum + width + 1 }),
      fc.integer({ max: minimum - 1 }),
      fc.string(),
      fc.boolean(),
    ),
  }),
);
const enumOf = fc
  .uniqueArray(fc.string({ minLength: 1, maxLength: 9 }), { minLength: 1, maxLength: 5 })
  .map((values) => ({
    declared: { type: 'enum', values, default: values[0] ?? '' } satisfies Parameter,
    value: values.at(-1) ?? '',
    wrong: `${values.join('')}!`,
  }));
const flag = fc.boolean().map((value) => ({
  declared: { type: 'boolean', default: !value } satisfies Parameter,
  value: value,
  wrong: 'yes',
}));
const declared = fc.oneof(numberIn, enumOf, flag);
const names = fc.stringMatching(/^[a-z][A-Za-z0-9_]{0,9}$/);
const siteNames = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' });

describe('whatever is declared', () => {
  it('each site gets exactly the declared parameters, its own value where it has one, and never one of another site', () => {
    const scene = fc.record({
      parameters: fc.dictionary(names, declared, { minKeys: 1, maxKeys: 6, noNullPrototype: true }),
      sites: fc.uniqueArray(siteNames, { minLength: 1, maxLength: 4 }),
      own: fc.array(fc.boolean(), { minLength: 24, maxLength: 24 }),
      at: fc.oneof(siteNames, fc.constant(undefined)),
    });
    fc.assert(
      fc.property(scene, ({ parameters, sites, own, at }) => {
        const entries = Object.entries(parameters);
        const valuesAt = (index: number) =>
          Object.fromEntries(
            entries.filter((_, place) => own[index * 6 + place]).map(([name, { value }]) => [name, value]),
          );
        const values = Object.fromEntries(sites.map((site, index) => [site, valuesAt(index)]));
        const content = {
          parameters: Object.fromEntries(entries.map(([name, each]) => [name, each.declared])),
          sites: values,
        };
        const read = assemble(content).manifest;
        for (const site of [...sites, at]) {
          const got = valuesFor(read, site);
          expect(Object.keys(got)).toEqual(Object.keys(read.parameters));
          const set = site !== undefined && Object.hasOwn(values, site) ? values[site] : {};
          for (const [name, { declared: each }] of entries) {
            const wanted = set && Object.hasOwn(set, name) ? set[name] : each.default;
            expect(got[name]).toBe(wanted);
          }
        }
      }),
    );
  });

  it('a value beyond its declaration is refused, at whatever site', () => {
    fc.assert(
      fc.property(names, declared, siteNames, (name, { declared: each, wrong }, site) => {
        expect(() => assemble({ parameters: { [name]: each }, sites: { [site]: { [name]: wrong } } })).toThrow(refused);
      }),
    );
  });
});
