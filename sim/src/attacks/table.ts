import type { Attack } from './attack.js';
import { downloadAttacks } from './downloads.js';
import { metadataAttacks } from './metadata.js';
import { mirrorAttacks } from './mirrors.js';
import { orderAttacks } from './orders.js';
import { parameterAttacks } from './parameters.js';
import { releaseAttacks } from './releases.js';
import { reportAttacks } from './reports.js';
import { stickAttacks } from './sticks.js';

/** Every attack that is tried, in this order, on one fleet. A new one is added to its list, and nowhere else. */
export const ATTACKS: readonly Attack[] = [
  ...orderAttacks,
  ...reportAttacks,
  ...releaseAttacks,
  ...parameterAttacks,
  ...metadataAttacks,
  ...downloadAttacks,
  ...mirrorAttacks,
  ...stickAttacks,
];
