import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyModelSignature } from '../../../src/cli/model-signing/index.js';
import { copiedModel } from './signing-fixture.js';

/**
 * The peer: `model_signing` of sigstore/model-transparency (Python, `pip install model-signing pyopenssl`), by $MODEL_SIGNING or on the PATH.
 * Where it is not installed, the golden vectors that it made are checked all the same, in model-signing.test.ts.
 */
const PEER = process.env['MODEL_SIGNING'] ?? 'model_signing';
const found = spawnSync(PEER, ['--version'], { encoding: 'utf8' });
const missing = found.status !== 0;
if (missing) process.stderr.write(`skipped: ${PEER} is not installed (pip install model-signing pyopenssl)\n`);

describe.skipIf(missing)('when the reference implementation is installed', () => {
  let keys: string;
  const key = (name: string) => join(keys, name);
  beforeAll(() => {
    keys = mkdtempSync(join(tmpdir(), 'drover-oms-keys-'));
    for (const curve of ['prime256v1', 'secp384r1', 'secp521r1']) {
      execFileSync('openssl', ['ecparam', '-name', curve, '-genkey', '-noout', '-out', key(curve)]);
      execFileSync('openssl', ['ec', '-in', key(curve), '-pubout', '-out', key(`${curve}.pub`)], { stdio: 'pipe' });
    }
  });
  afterAll(() => rmSync(keys, { recursive: true }));

  const sign = (folder: string, curve: string, signature: string) =>
    execFileSync(PEER, ['sign', 'key', '--private_key', key(curve), '--signature', signature, folder], {
      stdio: 'pipe',
    });
  const peerAccepts = (folder: string, curve: string, signature: string) =>
    spawnSync(PEER, ['verify', 'key', '--public_key', key(`${curve}.pub`), '--signature', signature, folder]).status ===
    0;
  const weAccept = (folder: string, curve: string, signature: string) =>
    verifyModelSignature(
      { modelFile: join(folder, 'model.onnx'), signatureFile: signature },
      { keyFile: key(`${curve}.pub`) },
    ).then(
      () => true,
      () => false,
    );

  it.each(['prime256v1', 'secp384r1', 'secp521r1'])(
    'agrees with it on %s, before and after a change',
    async (curve) => {
      const model = copiedModel();
      try {
        const signature = model.file('model.sig');
        sign(model.folder, curve, signature);
        expect([await weAccept(model.folder, curve, signature), peerAccepts(model.folder, curve, signature)]).toEqual([
          true,
          true,
        ]);
        writeFileSync(model.file('extra.bin'), 'extra');
        expect([await weAccept(model.folder, curve, signature), peerAccepts(model.folder, curve, signature)]).toEqual([
          false,
          false,
        ]);
        rmSync(model.file('extra.bin'));
        writeFileSync(model.file('labels.txt'), '{}');
        expect([await weAccept(model.folder, curve, signature), peerAccepts(model.folder, curve, signature)]).toEqual([
          false,
          false,
        ]);
      } finally {
        model.remove();
      }
    },
  );
});
