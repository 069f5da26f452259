import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId, ModelName } from '@drover/shared/ids';
import { openDeployment, type Deployment, type RefusalBody } from '@drover/shared/protocol';
import { DatabaseError } from '../database/index.js';
import { HostError, timeToJudgeBy, type Clock } from '../host/index.js';
import { verifyDeployment } from './accept.js';
import type { Journal } from './journal.js';
import type { WriteGate } from './kill-points.js';
import { kindFor, type Runners } from './kinds/index.js';
import { acceptRecovery, authorityOf, isRecoveryStatement, refusalOf, type Enrolled } from './recovery.js';
import { toReportable, toReportableError } from './reportable.js';
import type { TrustedRepository } from './trusted-repository.js';

export interface ReceiveOptions {
  /** From a stick, which may be put in again: an order that was carried out already is then no replay that anybody has to hear of. */
  readonly broughtByHand?: boolean;
}

/** What became of an order or a statement. `known`: it is being carried out, or was. */
export type Receipt =
  { readonly kind: 'accepted' | 'known' } | { readonly kind: 'refused'; readonly error: CodedErrorJson };

export interface ReceiverOptions {
  readonly deviceId: DeviceId;
  readonly hardwareClass: string;
  readonly site?: string | undefined;
  readonly enrolled: Enrolled;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly gate: WriteGate;
  readonly repository: TrustedRepository;
  readonly runners: Runners;
  /** Aborted when the agent stops: what comes then is neither taken nor refused, and is delivered again to the next. */
  readonly closing: AbortSignal;
  readonly onRefusal: (refusal: RefusalBody) => void;
  /** An order of this model is on disk. */
  readonly onAccepted: (model: ModelName) => void;
}

/** A recovery statement does not wait longer for a newer root that may vouch for it. */
const ROOT_LOOK_MS = 20_000;

/** Takes in what the director orders and what the holders of the root state: believes it and has it on disk, or refuses it and says why. */
export function createReceiver(options: ReceiverOptions) {
  const { journal, gate, repository, enrolled, clock, closing } = options;
  const authority = () => authorityOf(enrolled, journal.recovery());

  function refused(refusal: RefusalBody): Receipt {
    options.onRefusal(refusal);
    return { kind: 'refused', error: refusal.error };
  }

  function verifyOrder(order: Deployment): void {
    const { accepted, committed, revertFloor } = journal.models.get(order.model) ?? {};
    verifyDeployment(order, {
      deviceId: options.deviceId,
      hardwareClass: options.hardwareClass,
      epoch: authority().epoch,
      accepted,
      site: options.site,
      running: kindFor(order.model).base(committed, options.runners),
      revertFloor,
      nowMs: timeToJudgeBy(clock.now(), journal.timeFloorMs()),
    });
  }

  function accept(order: Deployment): void {
    const { model, epoch, counter } = order;
    const record = { ...journal.models.get(model), accepted: { epoch, counter }, pending: order };
    const timeFloorMs = Math.max(journal.timeFloorMs(), order.issuedAt);
    journal.write('accept', { model, record, timeFloorMs });
    options.onAccepted(model);
  }

  /** Synchronous: between the check of an order and its journaling nothing may slip in. */
  function receiveOrder(bytes: Uint8Array, { broughtByHand = false }: ReceiveOptions): Receipt {
    let order: Deployment | undefined;
    try {
      order = openDeployment(bytes, authority().director);
      if (isKnown(journal, order) || (broughtByHand && isEnded(journal, order))) return { kind: 'known' };
      verifyOrder(order);
    } catch (error) {
      const deploymentId = order?.deploymentId;
      return refused({
        subject: 'deployment',
        ...(deploymentId && { deploymentId }),
        error: toReportableError(error),
      });
    }
    accept(order);
    return { kind: 'accepted' };
  }

  async function receiveRecovery(bytes: Uint8Array): Promise<Receipt> {
    // What cannot be fetched leaves the newest root that was verified here, and that one decides: a refusal says so.
    const bounded = AbortSignal.any([closing, AbortSignal.timeout(ROOT_LOOK_MS)]);
    const problem = await repository.refresh(bounded).catch((error: unknown) => error);
    closing.throwIfAborted();
    try {
      return { kind: acceptRecovery(bytes, repository.rootKeys(), enrolled, journal) };
    } catch (error) {
      // What can't be stored has to be delivered again; what is not believed would never become better.
      if (error instanceof DatabaseError || error instanceof HostError || gate.cause() !== undefined) throw error;
      const { version } = repository.status().root;
      return refused({ subject: 'recovery', error: toReportable(refusalOf(error, { version, problem })) });
    }
  }

  /** Rejects with what keeps it from being stored, and with UPDATE_CLOSED when the agent stops: then it has to be delivered again. */
  return (bytes: Uint8Array, how: ReceiveOptions = {}): Promise<Receipt> =>
    promised(() => {
      closing.throwIfAborted();
      return isRecoveryStatement(bytes) ? receiveRecovery(bytes) : receiveOrder(bytes, how);
    });
}

/** MQTT delivers at least once (MQTT 3.1.1, section 4.3.2): an order that is being carried out is no replay when it comes again. */
function isKnown(journal: Journal, { model, deploymentId }: Deployment): boolean {
  const inProgress = journal.updates.get(model)?.deployment.deploymentId;
  return deploymentId === inProgress || deploymentId === journal.models.get(model)?.pending?.deploymentId;
}

const isEnded = (journal: Journal, { model, deploymentId }: Deployment): boolean =>
  journal.models.get(model)?.lastOutcome?.deploymentId === deploymentId;

/** What it throws becomes a rejection. */
const promised = <Value>(act: () => Value | Promise<Value>): Promise<Value> => new Promise((resolve) => resolve(act()));
