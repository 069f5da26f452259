import { createHash } from 'node:crypto';
import { connectAsync, type MqttClient } from 'mqtt';
import { DeviceId, type ModelName } from '@drover/shared/ids';
import {
  openDeployment,
  ordersTopic,
  reportsTopic,
  signEnrolment,
  signReport,
  type Deployment,
  type EnrolmentGrant,
  type StateBody,
} from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import type { Operator } from '../../fleet/operator.js';
import { createClaimToken } from '../../fleet/operator-requests.js';
import type { Ledger, LedgerViolation, Thing } from './ledger.js';
import type { OrderBook } from './order-book.js';

const HARDWARE_CLASS = 'cpu-small';
const CONNECT_TIMEOUT_MS = 20_000;

export interface ScriptedDeviceOptions {
  readonly id: string;
  readonly ledger: Ledger;
  readonly orders: OrderBook;
  readonly onViolation: (violation: LedgerViolation) => void;
}

/**
 * What a control plane sees of a device: it takes orders, runs at once what it is ordered, and says so in signed reports. Nothing in it can be
 * slow or fail, so that all that is lost was lost by the control plane.
 */
export class ScriptedDevice {
  readonly id: DeviceId;
  readonly #key = createKeyPair('device');
  readonly #ledger: Ledger;
  readonly #orders: OrderBook;
  readonly #onViolation: (violation: LedgerViolation) => void;
  readonly #running = new Map<ModelName, Deployment>();
  /** Signed and not acknowledged: sent again, the same bytes. */
  readonly #outbox = new Map<number, { readonly report: Thing; readonly bytes: Buffer }>();
  #grant: EnrolmentGrant | undefined;
  /** `ended` rejects when the connection breaks: MQTT.js then leaves what is under way without an answer. */
  #connection: { readonly client: MqttClient; readonly ended: Promise<never> } | undefined;
  #sequence = 0;
  #sending: Promise<void> = Promise.resolve();

  constructor({ id, ledger, orders, onViolation }: ScriptedDeviceOptions) {
    this.id = DeviceId(id);
    this.#ledger = ledger;
    this.#orders = orders;
    this.#onViolation = onViolation;
  }

  async enrol(operator: Operator): Promise<void> {
    const claimEntry = { kind: 'audit entry', name: `claim-token.create ${this.id}` } as const;
    this.#ledger.give(claimEntry);
    const claimToken = await createClaimToken(operator, { deviceId: this.id });
    this.#ledger.acknowledge(claimEntry);
    const device = { kind: 'device', name: this.id, entries: [`device.enrol ${this.id}`] } as const;
    this.#ledger.give(device);
    const request = { protocol: 1, kind: 'enrolment', claimToken, deviceId: this.id } as const;
    const facts = { hardwareClass: HARDWARE_CLASS, attributes: {}, agentVersion: '1.0.0', at: Date.now() };
    const envelope = signEnrolment({ ...request, ...facts, publicKey: publicKeyOf(this.#key) }, bulkSigner(this.#key));
    this.#grant = await operator.send('POST', '/api/v1/enrolments', JSON.parse(envelope.toString()));
    this.#ledger.acknowledge(device);
  }

  /** Listens for orders, sends again what was not acknowledged, and says what it runs. */
  async connect(mqttUrl: string): Promise<void> {
    const { credential = '' } = this.#grant ?? {};
    const client = await connectAsync(mqttUrl, {
      clientId: this.id,
      username: this.id,
      password: credential,
      protocolVersion: 4,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
    const ended = new Promise<never>((_, reject) => {
      client.once('close', () => reject(new Error('the connection to the broker ended')));
    });
    ended.catch(() => undefined);
    this.#connection = { client, ended };
    // What breaks the connection is the kill; what it broke off is sent again in the next life.
    client.on('error', () => undefined);
    client.on('message', (_topic, payload) => this.#take(payload));
    await Promise.race([client.subscribeAsync(ordersTopic(this.id), { qos: 1 }), ended]);
    for (const sequence of [...this.#outbox.keys()]) await this.#publish(sequence);
    await this.reportState();
  }
  async disconnect(): Promise<void> {
    const { client } = this.#connection ?? {};
    this.#connection = undefined;
    await client?.endAsync(true);
    await this.#sending.catch(() => undefined);
  }

  /** Resolves when the broker has acknowledged it. */
  async reportState(): Promise<void> {
    const models: StateBody['models'] = [...this.#running].map(([model, order]) => ({
      model,
      running: {
        release: order.release,
        loaded: order.release.digest,
        provider: { requested: ['cpu'], actual: 'cpu' },
      },
      update: { state: 'idle' },
      accepted: { epoch: order.epoch, counter: order.counter },
      lastOutcome: { deploymentId: order.deploymentId, release: order.release, outcome: 'committed' },
    }));
    const body: StateBody = { agentVersion: '1.0.0', hardwareClass: HARDWARE_CLASS, attributes: {}, models };
    const sequence = (this.#sequence += 1);
    const frame = { protocol: 1, kind: 'state', deviceId: this.id, sequence, at: Date.now(), body } as const;
    const bytes = signReport(frame, bulkSigner(this.#key));
    const name = `${this.id} ${sequence} ${createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 12)}`;
    this.#outbox.set(sequence, { report: { kind: 'report', name }, bytes });
    await this.#publish(sequence);
  }

  async #publish(sequence: number): Promise<void> {
    const kept = this.#outbox.get(sequence);
    if (!kept || !this.#connection) return;
    const { client, ended } = this.#connection;
    this.#ledger.give(kept.report);
    await Promise.race([client.publishAsync(reportsTopic(this.id), kept.bytes, { qos: 1 }), ended]);
    this.#ledger.acknowledge(kept.report);
    this.#outbox.delete(sequence);
  }

  #take(payload: Buffer): void {
    const { director } = this.#grant ?? {};
    if (!director) return;
    const order = openDeployment(payload, director);
    const { model, epoch, counter, deploymentId, rolloutId, downgrade } = order;
    const number = { epoch, counter, deploymentId, rolloutId };
    const taken = { device: this.id, model, ...number, isRevert: downgrade !== undefined };
    const { isNew, violations } = this.#orders.take(taken);
    for (const violation of violations) this.#onViolation(violation);
    if (isNew) this.#running.set(model, order);
    this.#sending = this.#sending.then(() => this.reportState()).catch(() => undefined);
  }
}
