import { systemClock } from '@drover/agent/host';
import { DeviceId } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { createClaimToken, fakeHost, startAgentProcess, startVirtualDevice, until } from '../../../fleet/index.js';
import { folder, PACE, type Facts, type Scene } from '../scene.js';

export const AGENT_ID = DeviceId('edge-agent');

/** 3. A simulated fleet, and one agent that is a process of its own, each with a key of its own and a claim token that works once. */
export async function enrol(scene: Scene, facts: Facts): Promise<string> {
  const { operator, httpUrl } = scene.controlPlane;
  const fleetDir = await folder(scene, 'devices');
  const random = seededRandom(scene.seed).fork('hosts');
  const siteOf = (index: number): string => scene.world.sites[index % scene.world.sites.length] ?? 'north';

  for (let index = 0; index < scene.devices; index++) {
    const deviceId = DeviceId(`device-${String(index + 1).padStart(2, '0')}`);
    const site = siteOf(index);
    const device = await startVirtualDevice({
      deviceId,
      dataDir: `${fleetDir}/${deviceId}`,
      controlPlaneUrl: httpUrl,
      claimToken: await createClaimToken(operator, { attributes: { site } }),
      pinnedRoot: scene.publisher.pinnedRoot,
      hardwareClass: 'generic',
      attributes: { site },
      telemetryIntervalMs: PACE.telemetryIntervalMs,
      clock: systemClock,
      host: fakeHost(random.fork(deviceId)),
    });
    facts.fleet.push(device);
    facts.closers.push(() => device.close());
  }
  scene.say(`${scene.devices} simulated devices enrolled; starting an agent as a process`);
  const site = siteOf(scene.devices);
  const agent = await startAgentProcess({
    deviceId: AGENT_ID,
    site,
    dataDir: `${fleetDir}/${AGENT_ID}`,
    controlPlaneUrl: httpUrl,
    claimToken: await createClaimToken(operator, { attributes: { site } }),
    pinnedRoot: scene.publisher.pinnedRoot,
    telemetryIntervalMs: PACE.telemetryIntervalMs,
  });
  facts.fleet.push(agent);
  facts.agent = agent;
  facts.closers.push(() => agent.close());

  const wanted = scene.devices + 1;
  await until(
    async () => {
      const { items } = await operator.get<{ items: { connected: boolean }[] }>('/api/v1/devices');
      return items.filter(({ connected }) => connected).length === wanted ? true : undefined;
    },
    { what: `${wanted} connected devices`, timeoutMs: 30_000, signal: scene.signal },
  );
  return `${wanted} devices at ${scene.world.sites.length} sites, all connected; the agent process is ${agent.pid()}`;
}
