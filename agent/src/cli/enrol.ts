import { readFileSync } from 'node:fs';
import { TufError } from '@drover/shared/trust/tuf';
import { agentVersion, deviceIdOf, type AgentConfig } from '../config/index.js';
import { systemClock } from '../host/index.js';
import { enrol, networkOf, verifyPinnedRoot } from '../identity/index.js';
import { prepareDataDir } from './data-dir.js';
import type { Terminal } from './terminal.js';

export async function enrolDevice(
  config: AgentConfig,
  options: { controlPlane: string; token: string; root: string },
  terminal: Terminal,
): Promise<void> {
  const pinnedRoot = readRoot(options.root);
  const { version, keySet } = verifyPinnedRoot(pinnedRoot);
  await prepareDataDir(config.dataDir);
  const identity = await enrol({
    controlPlaneUrl: options.controlPlane,
    claimToken: options.token,
    deviceId: deviceIdOf(config),
    hardwareClass: config.hardwareClass,
    attributes: config.attributes,
    pinnedRoot,
    agentVersion: agentVersion(),
    dataDir: config.dataDir,
    clock: systemClock,
    network: networkOf(config),
  });
  terminal.stdout(
    `This device is enrolled as ${identity.grant.deviceId} at ${identity.controlPlaneUrl}.\n` +
      `It runs releases of the repository whose root (version ${version}) ${keySet.threshold} of ${keySet.keys.length} key(s) sign.\n` +
      'Next: drover-agent run, or systemctl start drover-agent\n',
  );
}

function readRoot(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new TufError('TUF_ANCHOR_INVALID', `The root cannot be read: ${(cause as Error).message}.`, {
      section: '5.2',
      where: file,
      remedy:
        'Make the file with `drover keys export root.json`, and copy it to this device by hand, not through the control plane.',
      cause,
    });
  }
}
