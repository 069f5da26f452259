import type { DeviceId, KeyId } from '@drover/shared/ids';

export interface ClaimTokenTable {
  /** SHA-256 of the token in hex. */
  readonly token_hash: string;
  /** JSON of the attributes that the enrolling device gets. */
  readonly attributes: string;
  readonly expires_at: number;
  readonly uses_left: number;
  readonly created_at: number;
  readonly created_by: string;
  /** The one device that may use it; null lets any. */
  readonly device_id: DeviceId | null;
}

/** One device uses one claim token once, however many uses it has: a recorded enrolment that is sent again gets no credential. */
export interface ClaimTokenUseTable {
  readonly token_hash: string;
  readonly device_id: DeviceId;
  readonly used_at: number;
}

export interface DeviceTable {
  readonly id: DeviceId;
  /** Ed25519 public key, 32 bytes in hex; reports must be signed with it. */
  readonly public_key: string;
  readonly key_id: KeyId;
  /** SHA-256 of the credential in hex. */
  readonly credential_hash: string;
  readonly hardware_class: string;
  readonly agent_version: string;
  readonly enrolled_at: number;
  readonly last_seen_at: number | null;
  readonly connected: 0 | 1;
  /** From then on nothing of it is believed: neither key nor certificate nor credential. */
  readonly revoked_at: number | null;
  readonly revoked_by: string | null;
  readonly revocation_reason: string | null;
}

/** A client certificate that was issued. */
export interface DeviceCertificateTable {
  /** Lower-case hex. */
  readonly serial: string;
  readonly device_id: DeviceId;
  readonly key_id: KeyId;
  /** Number of the authority that issued it. */
  readonly authority: number;
  readonly issued_at: number;
  readonly expires_at: number;
  /** When the device first came with it: until then the answer that carried it may have been lost. */
  readonly first_used_at: number | null;
  readonly revoked_at: number | null;
}

/** A table of its own, so that selectors are plain joins on any database. */
export interface DeviceAttributeTable {
  readonly device_id: DeviceId;
  readonly name: string;
  readonly value: string;
}

export interface DeviceTables {
  claim_tokens: ClaimTokenTable;
  claim_token_uses: ClaimTokenUseTable;
  devices: DeviceTable;
  device_attributes: DeviceAttributeTable;
  device_certificates: DeviceCertificateTable;
}
