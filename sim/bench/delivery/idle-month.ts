import { DeviceId, digestOf, ModelName, newDeploymentId, Version } from '@drover/shared/ids';
import { reportsTopic, signReport, type Report } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair } from '@drover/shared/trust';

/** The profile of docs/operations.md, "Metered links". */
const METERED = { telemetryIntervalMs: 6 * 3_600_000, keepaliveS: 600, reconnectsPerDay: 1 } as const;
const DAYS = 30;
/** Headers of IPv4 (20) and TCP with timestamps (32) for each segment. */
const SEGMENT_BYTES = 52;
const SEGMENT_PAYLOAD_BYTES = 1_400;
/** TLS 1.3: header, content type and tag of a record (RFC 8446, section 5.2). */
const RECORD_BYTES = 22;
/** A full TLS handshake with certificates on both sides, and its segments. An estimate. */
const HANDSHAKE_BYTES = 6_000;
const PINGREQ_BYTES = 2;
const PUBACK_BYTES = 4;

/** One message in one TLS record, and the TCP acknowledgements of its segments. */
function onTheLink(bytes: number): number {
  const segments = Math.ceil((bytes + RECORD_BYTES) / SEGMENT_PAYLOAD_BYTES);
  return bytes + RECORD_BYTES + 2 * segments * SEGMENT_BYTES;
}

/** What the link of a device carries in a month in which nothing happens: real signed reports, MQTT frames, and TCP, IP and TLS by their headers. */
export function idleMonth() {
  const signer = bulkSigner(createKeyPair('device'));
  const deviceId = DeviceId('pump-7');
  const model = ModelName('gas-classifier');
  const digest = digestOf(Buffer.from('release'));
  const release = { version: Version('1.0.0'), digest };
  const frame = { protocol: 1, deviceId, sequence: 100_000, at: Date.UTC(2026, 0, 1) } as const;
  const telemetry: Report = {
    ...frame,
    kind: 'telemetry',
    body: {
      windowMs: METERED.telemetryIntervalMs,
      host: {
        cpuShare: 0.123456,
        memoryTotalMiB: 3_964,
        memoryUsedMiB: 1_585,
        diskTotalMiB: 29_000,
        diskFreeMiB: 20_000,
        temperatureC: 45.1,
      },
      models: [
        {
          model,
          release,
          requests: 216_000,
          failures: 12,
          inferences: 216_000,
          latencyUs: { p50: 850, p99: 3_100, max: 40_000 },
          labelled: { count: 100, correct: 92 },
          confidence: { count: 216_000, mean: 0.913456 },
          predictions: Object.fromEntries(Array.from({ length: 6 }, (_, label) => [String(label), 36_000])),
        },
      ],
    },
  };
  const state: Report = {
    ...frame,
    kind: 'state',
    body: {
      agentVersion: '0.1.0',
      hardwareClass: 'generic',
      attributes: { site: 'north', line: '7' },
      models: [
        {
          model,
          running: {
            release,
            loaded: digest,
            provider: { requested: ['tensorrt', 'cuda', 'cpu'], actual: 'cpu' },
          },
          update: { state: 'idle' },
          accepted: { epoch: 1, counter: 12 },
          lastOutcome: { deploymentId: newDeploymentId(), release, outcome: 'committed' },
        },
      ],
    },
  };
  /** PUBLISH: fixed header, topic with its length, packet id (MQTT 3.1.1, section 3.3). */
  const publishBytes = (report: Report) =>
    signReport(report, signer).length + Buffer.byteLength(reportsTopic(deviceId)) + 7;
  const sent = (report: Report) => onTheLink(publishBytes(report)) + onTheLink(PUBACK_BYTES);
  const counts = {
    telemetryReports: (DAYS * 86_400_000) / METERED.telemetryIntervalMs,
    pings: (DAYS * 86_400) / METERED.keepaliveS,
    connections: DAYS * METERED.reconnectsPerDay,
  };
  const bytes = {
    telemetry: counts.telemetryReports * sent(telemetry),
    pings: counts.pings * 2 * onTheLink(PINGREQ_BYTES),
    // CONNECT, CONNACK, SUBSCRIBE, SUBACK, and a report of the state.
    connections: counts.connections * (HANDSHAKE_BYTES + 4 * onTheLink(100) + sent(state)),
  };
  return {
    idleMiBPerMonth: (bytes.telemetry + bytes.pings + bytes.connections) / 2 ** 20,
    raw: {
      profile: METERED,
      counts,
      bytes,
      telemetryReportBytes: publishBytes(telemetry),
      stateReportBytes: publishBytes(state),
      estimated: { SEGMENT_BYTES, RECORD_BYTES, HANDSHAKE_BYTES },
    },
  };
}
