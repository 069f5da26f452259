import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { writeDurably } from '../host/index.js';
import type { Adaptation } from './adaptation.js';
import type { AdaptationJudgement } from './gate.js';

/** What the device remembers of its own fine-tuning, apart from the updater's store, which removes what it does not serve. */
export interface Attempts {
  /** Keeps a candidate while it is judged. */
  storeModel(model: Uint8Array): Promise<{ file: string; digest: Digest }>;
  /** Keeps how it was made and judged, and the model itself only where it passed; forgets the oldest attempts beyond a bound. */
  conclude(digest: Digest, record: { lineage: Adaptation; judgement: AdaptationJudgement }): Promise<void>;
}

const KEPT_RECORDS = 20;
/** Models are large; the newest that passed may still be proposed to an operator. */
const KEPT_MODELS = 2;

/** `<digest>.onnx` and `<digest>.json` in the folder `tuning` of the data folder. */
export function openAttempts(dataDir: string): Attempts {
  const folder = join(dataDir, 'tuning');
  const fileOf = (digest: Digest, kind: 'onnx' | 'json'): string => join(folder, `${digestHex(digest)}.${kind}`);
  return {
    async storeModel(model) {
      await mkdir(folder, { recursive: true });
      const digest = digestOf(model);
      const file = fileOf(digest, 'onnx');
      await writeDurably(file, model);
      return { file, digest };
    },
    async conclude(digest, record) {
      await writeDurably(fileOf(digest, 'json'), JSON.stringify(record));
      if (record.judgement.verdict !== 'PASS') await rm(fileOf(digest, 'onnx'), { force: true });
      await keepNewest(folder, 'onnx', KEPT_MODELS);
      await keepNewest(folder, 'json', KEPT_RECORDS);
    },
  };
}

async function keepNewest(folder: string, kind: 'onnx' | 'json', kept: number): Promise<void> {
  const names = (await readdir(folder)).filter((name) => /^[0-9a-f]{64}\./.test(name) && name.endsWith(`.${kind}`));
  const files = await Promise.all(
    names.map(async (name) => ({ name, atMs: (await stat(join(folder, name))).mtimeMs })),
  );
  files.sort((one, other) => other.atMs - one.atMs);
  for (const { name } of files.slice(kept)) await rm(join(folder, name), { force: true });
}
