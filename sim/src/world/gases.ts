/** The six gases of Vergara et al. 2012 (Sensors and Actuators B 166), in the order of the data's classes 1–6. */
export const GASES = ['ethanol', 'ethylene', 'ammonia', 'acetaldehyde', 'acetone', 'toluene'] as const;

/** Names for any number of classes: the six gases first, numbered ones after them. */
export function gasLabels(classes: number): string[] {
  return Array.from({ length: classes }, (_, index) => GASES[index] ?? `gas_${index + 1}`);
}
