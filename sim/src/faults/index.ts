export { openFlakyProxy, type FlakyProxy, type FlakyProxyOptions } from './flaky-network.js';
export { openConnectProxy, type ConnectProxy, type ConnectProxyOptions, type ProxyAttempt } from './connect-proxy.js';
