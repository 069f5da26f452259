import type { Role } from './roles.js';

export interface TokenTable {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token in hex: a copy of the database opens nothing. */
  readonly token_hash: string;
  readonly created_at: number;
  readonly created_by: string;
}

/** Append-only; triggers refuse changes, and each row's hash covers the hash before it. */
export interface AuditTable {
  readonly sequence: number;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  /** JSON. */
  readonly detail: string;
  readonly previous_hash: string;
  readonly hash: string;
}

export interface GovernanceTables {
  tokens: TokenTable;
  audit: AuditTable;
}
