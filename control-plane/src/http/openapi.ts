import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import { CONTENT_ROLES, PUBLIC, type Access } from './access.js';

/** OpenAPI from the routes' own schemas; to be registered before them. */
export function installOpenApi(app: FastifyInstance, version: string): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Drover control plane', version },
      components: {
        securitySchemes: {
          token: { type: 'http', scheme: 'bearer', description: 'An access token with a role.' },
          device: { type: 'http', scheme: 'basic', description: 'Device id and the credential from its enrolment.' },
        },
      },
    },
    transform: ({ schema, url, route }) => {
      const access = route.config?.access;
      const security = access ? securityOf(access) : [];
      return { schema: { ...schema, security }, url };
    },
  });
  void app.register(documentation);
}

function securityOf(access: Access): Record<string, string[]>[] {
  switch (access.kind) {
    case 'public':
      return [];
    case 'role':
      return [{ token: [access.role] }];
    case 'roles':
      return access.roles.map((role) => ({ token: [role] }));
    case 'device':
      return [{ device: [] }];
    case 'content':
      return [{ device: [] }, ...CONTENT_ROLES.map((role) => ({ token: [role] }))];
  }
}

/** The pages at /docs hold no data of this control plane, so anybody may read them. */
const documentation: FastifyPluginAsync = async (app) => {
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, access: PUBLIC };
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
};
