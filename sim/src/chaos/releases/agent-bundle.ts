import { createHash } from 'node:crypto';
import { paddingOf, USTAR_BLOCK_BYTES, ustarFileHeader } from '@drover/shared/archive';

/** What an agent release of a trial runs on. */
export const TRIAL_PLATFORM = { os: 'linux', arch: 'trial', nodeAbi: '115' };

/**
 * A bundle of a few lines in place of 50 MiB, as firmware-images/systemd/bundle.mjs packs it. Its program passes its own check; the agent that then
 * runs is the one under trial, whatever it is called.
 */
export function agentBundle(version: string): Buffer {
  const program = `echo '{"nonce":"'"$3"'","version":"${version}","summary":"fine"}'\n`;
  const files = { BUNDLE: `version=${version}\n`, 'bin/drover-agent': program, 'lib/weights': 'x'.repeat(9_000) };
  const listed = Object.entries(files).map(
    ([path, text]) => `${createHash('sha256').update(text).digest('hex')} ${Buffer.byteLength(text)} ${path}\n`,
  );
  const all = { ...files, FILES: `${listed.join('')}total ${listed.length}\n` };
  const blocks = Object.entries(all).flatMap(([path, text]) => [
    ustarFileHeader(`drover-agent-${version}/${path}`, text.length),
    Buffer.from(text),
    Buffer.alloc(paddingOf(text.length)),
  ]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * USTAR_BLOCK_BYTES)]);
}
