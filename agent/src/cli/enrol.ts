import { readFileSync } from 'node:fs';
import { parseKeySet, TrustError } from '@drover/shared/trust';
import { agentVersion, deviceIdOf, type AgentConfig } from '../config/index.js';
import { systemClock } from '../host/index.js';
import { enrol, networkOf } from '../identity/index.js';
import { prepareDataDir } from './data-dir.js';
import type { Terminal } from './terminal.js';

export async function enrolDevice(
  config: AgentConfig,
  options: { controlPlane: string; token: string; publisherKeys: string },
  terminal: Terminal,
): Promise<void> {
  await prepareDataDir(config.dataDir);
  const identity = await enrol({
    controlPlaneUrl: options.controlPlane,
    claimToken: options.token,
    deviceId: deviceIdOf(config),
    hardwareClass: config.hardwareClass,
    attributes: config.attributes,
    publisherKeys: readKeySet(options.publisherKeys),
    agentVersion: agentVersion(),
    dataDir: config.dataDir,
    clock: systemClock,
    network: networkOf(config),
  });
  terminal.stdout(
    `This device is enrolled as ${identity.grant.deviceId} at ${identity.controlPlaneUrl}.\n` +
      `It will run releases signed by ${identity.publisherKeys.threshold} of ${identity.publisherKeys.keys.length} pinned publisher key(s).\n` +
      'Next: drover-agent run, or systemctl start drover-agent\n',
  );
}

function readKeySet(file: string) {
  try {
    return parseKeySet(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    if (cause instanceof TrustError) throw cause;
    throw new TrustError('KEY_MALFORMED', `The publisher keys cannot be read: ${(cause as Error).message}.`, {
      where: file,
      remedy:
        'Make the file with `drover keys public`, and copy it to this device by hand, not through the control plane.',
      cause,
    });
  }
}
