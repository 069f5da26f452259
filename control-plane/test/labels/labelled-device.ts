import { newLabelRequestId } from '@drover/shared/ids';
import type { LabelListing, ListedLabelRequest } from '@drover/shared/protocol';
import { MODEL, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';

const HOUR_MS = 3_600_000;

/** A request as a device lists it; it is over in an hour unless told otherwise. */
export const request = (
  { clock }: Pick<World, 'clock'>,
  { version }: Pick<Release, 'version'>,
  facts: Partial<ListedLabelRequest> = {},
): ListedLabelRequest => ({
  id: newLabelRequestId(),
  model: MODEL,
  version,
  requestId: 'frame 17',
  row: 0,
  reason: 'random',
  requestedAt: clock.nowMs,
  servedAt: clock.nowMs - 1_000,
  expiresAt: clock.nowMs + HOUR_MS,
  prediction: 1,
  confidence: 0.5,
  ...facts,
});

export const tell = (device: ScriptedDevice, labels: LabelListing): Promise<void> =>
  device.report('telemetry', { windowMs: 1, models: [], labels });

/** Lists exactly these, and describes them all. */
export const list = (device: ScriptedDevice, ...described: readonly ListedLabelRequest[]): Promise<void> =>
  tell(device, { open: described.map(({ id }) => id), described: [...described] });
