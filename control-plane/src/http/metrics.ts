import type { FastifyInstance } from 'fastify';
import { Gauge, Histogram, Registry } from 'prom-client';
import { VIEWER } from './access.js';

/** A part of the control plane that has figures to show: declares its metrics once; what it returns brings them up to date. */
export type MetricsSource = (registry: Registry) => () => Promise<void>;

export interface FleetFigures {
  readonly countDevices: () => Promise<{ connected: number; disconnected: number }>;
  readonly countReleases: () => Promise<number>;
}

export const fleetMetrics =
  ({ countDevices, countReleases }: FleetFigures): MetricsSource =>
  (registry) => {
    const devices = new Gauge({
      name: 'drover_devices',
      help: 'Enrolled devices by whether they are connected to the broker.',
      labelNames: ['connected'] as const,
      registers: [registry],
    });
    const published = new Gauge({ name: 'drover_releases', help: 'Published releases.', registers: [registry] });
    return async () => {
      const { connected, disconnected } = await countDevices();
      devices.set({ connected: 'true' }, connected);
      devices.set({ connected: 'false' }, disconnected);
      published.set(await countReleases());
    };
  };

export interface Metrics {
  /** The Prometheus text format, brought up to date. */
  scrape(): Promise<{ contentType: string; text: string }>;
}

/** Measures the duration of every request by route, beside what the sources show. To be installed before routes are registered. */
export function installMetrics(app: FastifyInstance, sources: readonly MetricsSource[]): Metrics {
  const registry = new Registry();
  const durations = new Histogram({
    name: 'drover_http_request_duration_seconds',
    help: 'Duration of HTTP requests.',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.002, 0.01, 0.05, 0.2, 1, 5, 30],
    registers: [registry],
  });
  const refresh = sources.map((source) => source(registry));
  app.addHook('onResponse', (request, reply, done) => {
    // The pattern, never the URL: a label must not grow with what callers invent.
    const route = request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
    durations.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
    done();
  });
  return {
    async scrape() {
      await Promise.all(refresh.map((update) => update()));
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

export function metricsRoute(app: FastifyInstance, metrics: Metrics): void {
  app.get('/metrics', { config: { access: VIEWER }, schema: { tags: ['operations'] } }, async (_request, reply) => {
    const { contentType, text } = await metrics.scrape();
    return reply.type(contentType).send(text);
  });
}
