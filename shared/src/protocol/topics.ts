import { DeviceId } from '../ids/index.js';

/** The number in every topic and message. A breaking change gets a new number beside the old one (docs/protocol.md, section 1). */
export const PROTOCOL_VERSION = 1;

const ROOT = `drover/v${PROTOCOL_VERSION}/devices`;

/** Control plane → one device: signed deployments. */
export const ordersTopic = (device: DeviceId): string => `${ROOT}/${device}/orders`;
/** One device → control plane: signed reports. */
export const reportsTopic = (device: DeviceId): string => `${ROOT}/${device}/reports`;
/** What the control plane subscribes to. */
export const ALL_REPORTS = `${ROOT}/+/reports`;

/** The device that a topic of the given channel belongs to; undefined for any other topic. */
export function deviceOfTopic(topic: string, channel: 'orders' | 'reports'): DeviceId | undefined {
  const [root, version, devices, device, last, ...rest] = topic.split('/');
  if (rest.length > 0 || last !== channel || device === undefined) return undefined;
  if (`${root ?? ''}/${version ?? ''}/${devices ?? ''}` !== ROOT) return undefined;
  try {
    return DeviceId(device);
  } catch {
    return undefined;
  }
}
