export { bundleRoutes, type BundleOrders } from './routes.js';
