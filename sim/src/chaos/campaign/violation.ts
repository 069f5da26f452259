/** `bricked`: nothing serves, or it does not start. `lie`: what it reports is not so. `stuck`: an order does not get through. */
export interface Violation {
  readonly kind: 'bricked' | 'lie' | 'stuck';
  readonly what: string;
}

export type Found = (kind: Violation['kind'], what: string) => void;
