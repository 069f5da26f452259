import type {} from 'fastify';
import type { DeviceId } from '@drover/shared/ids';
import type { Role } from '../governance/roles.js';

/**
 * Who may call a route: declared by the route itself as `config: { access }`, so that nothing is ever open because of where its URL
 * begins. A route that declares nothing stops the start of the control plane.
 */
export type Access =
  | { readonly kind: 'public' }
  /** `Authorization: Bearer TOKEN` of a token with at least this role. */
  | { readonly kind: 'role'; readonly role: Role }
  /** The same, with one of these roles. */
  | { readonly kind: 'roles'; readonly roles: readonly Role[] }
  /** A device: by its certificate over TLS, else by HTTP Basic with the credential that its enrolment returned. */
  | { readonly kind: 'device' }
  /**
   * Releases and their metadata, which any device may read: a device, or a token of a mirror at a site (docs/protocol.md, section 13), or of an operator, who
   * makes bundles of them.
   */
  | { readonly kind: 'content' };

export const PUBLIC: Access = { kind: 'public' };
export const VIEWER: Access = { kind: 'role', role: 'viewer' };
export const PUBLISHER: Access = { kind: 'role', role: 'publisher' };
export const OPERATOR: Access = { kind: 'role', role: 'operator' };
export const ADMIN: Access = { kind: 'role', role: 'admin' };
export const LABELLER: Access = { kind: 'role', role: 'labeller' };
/** Who may see what devices would like labelled. */
export const LABEL_READER: Access = { kind: 'roles', roles: ['viewer', 'labeller'] };
export const DEVICE: Access = { kind: 'device' };
export const CONTENT: Access = { kind: 'content' };

/** Of tokens that may read what devices read of releases. */
export const CONTENT_ROLES: readonly Role[] = ['mirror', 'operator'];

/** Who is calling, set before any handler runs. `name` is what the audit log records as the actor. */
export type Caller =
  | { readonly kind: 'token'; readonly name: string; readonly role: Role }
  | { readonly kind: 'device'; readonly name: string; readonly deviceId: DeviceId };

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    caller: Caller | undefined;
  }
}
