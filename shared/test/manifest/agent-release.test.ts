import { describe, expect, it } from 'vitest';
import { Version } from '../../src/ids/index.js';
import {
  AGENT_MODEL,
  agentVariantFor,
  allFiles,
  isAgentManifest,
  parseManifest,
  parseRelease,
  type AgentManifest,
} from '../../src/manifest/index.js';
import { assembleAgentRelease } from '../../src/release/index.js';

const arm = { os: 'linux', arch: 'arm64', nodeAbi: '115' };
const intel = { ...arm, arch: 'x64' };
const { manifest: assembled } = assembleAgentRelease({
  version: Version('1.1.0'),
  createdAt: new Date(0),
  bundles: [arm, intel].map((platform) => ({ platform, bytes: Buffer.from(platform.arch), unpackedBytes: 9 })),
});
const manifest = assembled as AgentManifest;
const parsed = (change: object) => () => parseRelease(Buffer.from(JSON.stringify({ ...manifest, ...change })));

describe('the manifest of an agent', () => {
  it('when it was assembled, is read as one, with one bundle for each platform', () => {
    const read = parseRelease(Buffer.from(JSON.stringify(manifest)));
    expect(isAgentManifest(read)).toBe(true);
    expect(allFiles(read).map(({ path }) => path)).toEqual([
      'linux-arm64-abi115/drover-agent-1.1.0.tar.gz',
      'linux-x64-abi115/drover-agent-1.1.0.tar.gz',
    ]);
    expect(agentVariantFor(manifest, intel).bundle.bytes).toBe(3);
  });

  it('when it has no bundle for a platform, says for which', () => {
    expect(() => agentVariantFor(manifest, { ...arm, nodeAbi: '137' })).toThrow(/linux-arm64-abi137/);
  });

  it.each([
    ['it has another name', { model: 'gas-classifier' }],
    ['two bundles are for one platform', { variants: [manifest.variants[0], manifest.variants[0]] }],
    ['a bundle is larger than any may be', { variants: [{ ...manifest.variants[0], unpackedBytes: 2 ** 40 }] }],
    ['it needs another launcher', { contract: { protocol: 1, launcher: 2 } }],
    ['it holds golden vectors', { goldenVectors: manifest.variants[0]?.bundle }],
  ])('when %s, is refused', (_, change) => {
    expect(parsed(change)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error);
  });

  it('when it is read where only models are expected, is refused', () => {
    expect(() => parseManifest(Buffer.from(JSON.stringify(manifest)))).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error,
    );
  });
});

it('the manifest of a model must not have the name of the agent', () => {
  const file = { path: 'm.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 };
  const tensor = { name: 'x', datatype: 'FP32', shape: [1] };
  const model = (name: string) => ({
    format: 'drover.release/1',
    model: name,
    version: '1.0.0',
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'tensors' },
    variants: [
      {
        name: 'default',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: file,
        signature: { inputs: [tensor], outputs: [tensor] },
      },
    ],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 0, relative: 0 } },
    goldenVectors: file,
    lineage: { data: [] },
  });
  const parse = (name: string) => parseRelease(Buffer.from(JSON.stringify(model(name))));
  expect(parse('gas-classifier').model).toBe('gas-classifier');
  expect(() => parse(AGENT_MODEL)).toThrow(/reserved/);
});
