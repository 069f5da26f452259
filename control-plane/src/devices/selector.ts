import { Type, type Static } from 'typebox';
import { NAME_PATTERN, type DeviceId } from '@drover/shared/ids';
import { DeviceError } from './errors.js';

const MAX_LISTED_DEVICES = 10_000;

/** Which devices: all, or those that meet every condition that is named. An empty selector is refused, never read as "all". */
export const Selector = Type.Object(
  {
    all: Type.Optional(Type.Literal(true)),
    devices: Type.Optional(
      Type.Array(Type.Unsafe<DeviceId>(Type.String({ pattern: NAME_PATTERN })), {
        minItems: 1,
        maxItems: MAX_LISTED_DEVICES,
      }),
    ),
    attributes: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }), Type.String({ maxLength: 200 }), {
        additionalProperties: false,
        minProperties: 1,
      }),
    ),
  },
  { additionalProperties: false },
);
export type Selector = Static<typeof Selector>;

/** @throws DeviceError SELECTOR_EMPTY */
export function refuseEmpty(selector: Selector): void {
  if (selector.all === true || selector.devices !== undefined || selector.attributes !== undefined) return;
  throw new DeviceError('SELECTOR_EMPTY', 'The selector names no devices.', {
    remedy: 'Give "devices", "attributes" or "all": true.',
  });
}
