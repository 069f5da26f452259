import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import { ADMIN_TOKEN, startControlPlaneProcess, type RunningControlPlane } from '../../control-plane-process.js';
import { LABELS, sumClassifier } from '../classifier.js';
import { ownSigner, statementAbout, written } from './signing-fixture.js';

let running: RunningControlPlane;
const model = sumClassifier();
const signer = ownSigner();
const bundle = Buffer.from(JSON.stringify(signer.bundleOf(statementAbout('net.onnx', model))));

beforeAll(async () => {
  running = await startControlPlaneProcess();
  process.chdir(running.directory);
  mkdirSync('model');
  writeFileSync(join('model', 'net.onnx'), model);
  written('.', 'signer.pem', signer.pem);
  written('.', 'other.pem', ownSigner().pem);
  written('.', 'net.sig', bundle);
  await running.drover(['login', running.httpUrl, '--token', ADMIN_TOKEN]);
});
afterAll(async () => {
  process.chdir('/');
  await running.stop();
});

const publish = (version: string, ...oms: string[]) =>
  running.drover(
    ['model', 'publish', 'model/net.onnx', '--model', 'sum', '--version', version].concat(
      ['--labels', LABELS.join(',')],
      oms,
    ),
  );

describe('when a model that somebody else signed is published', () => {
  it('says in the lineage of the signed manifest who vouched for which files', async () => {
    const published = await publish('1.0.0', '--oms-signature', 'net.sig', '--oms-key', 'signer.pem');
    expect([published.code, published.stderr]).toEqual([0, expect.any(String)]);
    const shown = await running.drover(['model', 'show', 'sum@1.0.0']);
    const { lineage } = (JSON.parse(shown.stdout) as { manifest: Manifest }).manifest;
    expect(lineage.modelSignature).toMatchObject({
      predicateType: 'https://model_signing/signature/v1.0',
      bundle: digestOf(bundle),
      files: 1,
      signedBy: { method: 'key' },
    });
  });

  it('publishes nothing where the signature is of another key, or of other files', async () => {
    const other = await publish('1.0.1', '--oms-signature', 'net.sig', '--oms-key', 'other.pem');
    expect([other.code, other.stderr.split(':')[0]]).toEqual([1, 'MODEL_SIGNATURE_UNTRUSTED']);
    writeFileSync(join('model', 'extra.bin'), 'extra');
    const extra = await publish('1.0.1', '--oms-signature', 'net.sig', '--oms-key', 'signer.pem');
    expect([extra.code, extra.stderr.split(':')[0]]).toEqual([1, 'MODEL_SIGNATURE_FILES_DIFFER']);
    const shown = await running.drover(['model', 'show', 'sum@1.0.1']);
    expect(shown.code).toBe(1);
  });

  it.each([
    [['--oms-signature', 'net.sig']],
    [['--oms-key', 'signer.pem']],
    [['--oms-signature', 'net.sig', '--oms-key', 'signer.pem', '--oms-ca', 'signer.pem']],
    [['--oms-signature', 'net.sig', '--oms-key', 'signer.pem', '--oms-identity', 'somebody']],
  ])('asks for one way to trust the signer: %j', async (options) => {
    const refused = await publish('1.0.2', ...options);
    expect([refused.code, refused.stderr.split(':')[0]]).toEqual([2, 'CLI_USAGE']);
  });
});
