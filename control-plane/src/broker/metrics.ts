import { Gauge } from 'prom-client';
import type { MetricsSource } from '../http/index.js';
import type { BrokerMetrics } from './port.js';

/** Who is connected, and what was refused to whoever was: an attack on the topics of another device shows here. */
export const brokerMetrics =
  (broker: { collect(): BrokerMetrics }): MetricsSource =>
  (registry) => {
    const connections = new Gauge({
      name: 'drover_broker_connections',
      help: 'Connections to the embedded broker.',
      registers: [registry],
    });
    const refusals = new Gauge({
      name: 'drover_broker_refused',
      help: 'Logins, topics and packets that the embedded broker refused since its start.',
      labelNames: ['code'] as const,
      registers: [registry],
    });
    return () => {
      const { connections: open, refusals: counts } = broker.collect();
      connections.set(open);
      for (const [code, count] of Object.entries(counts)) refusals.set({ code }, count);
      return Promise.resolve();
    };
  };
