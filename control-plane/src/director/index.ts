export {
  createDirector,
  desiredReleases,
  type DesiredRelease,
  type Director,
  type DirectorOptions,
  type Publisher,
  type WantedOrder,
  type Withheld,
} from './director.js';
export { newestOf, type OrderRequest } from './order.js';
export { reconcile, type Reconciliation } from './reconcile.js';
export type { OrderTable, Outcome } from './tables.js';
