export { openFlakyProxy, type FlakyProxy, type FlakyProxyOptions } from './flaky-network.js';
