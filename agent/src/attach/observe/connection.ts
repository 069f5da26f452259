import type { Socket } from 'node:net';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import type { Digest, ModelName } from '@drover/shared/ids';
import type { Clock } from '../../host/clock.js';
import { demandHeld, truthOf } from '../../serve/inline/feedback.js';
import { inputCounts } from '../../serve/inline/input-contract.js';
import { servedBy } from '../../serve/inline/observation.js';
import { rowBytes, withoutRows, type Recorder } from '../../serve/recorder.js';
import { AttachError } from '../errors.js';
import { Allowance, tooFast, type ObserveLimits } from './allowance.js';
import type { KnownRelease, KnownReleases } from './known-releases.js';
import { MessageReader, type RawMessage } from './message-reader.js';
import { invalid, readMessage, type ObservedInference, type ObservedLabel, type ObserveMessage } from './messages.js';
import { readObservation } from './observation.js';
import { PacedWord } from './paced-word.js';
import type { Said } from './process-messages.js';
import { RateLimit } from './rate-limit.js';

export interface ConnectionOptions {
  /** No other connection has it. */
  readonly id: number;
  readonly known: Pick<KnownReleases, 'of'>;
  readonly limits: ObserveLimits;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly onSaid: (said: Said) => void;
}

/** An application that connects and says nothing holds one of few places. */
const HELLO_TIMEOUT_MS = 10_000;
/** From our last word until the connection is cut. */
const END_TIMEOUT_MS = 1_000;
/** Answers that a client does not read are kept up to this; beyond, it gets none. */
const MAX_UNREAD_BYTES = 64 * 1024;
/** So many messages that cannot be taken are answered in a second: to say what is wrong with one costs more than to send it. */
const MAX_EXPLAINED_PER_SECOND = 20;
/** Rows of labels that wait for the store. */
const MAX_WAITING_LABELS = 10_000;
/** So much is read of a connection at once: there is more to come, and the turn of the others is first. */
const FULL_READ_BYTES = 64 * 1024;

/** One connection of an attached application. What it sends wrongly is answered, and harms nobody but itself. */
export class ObserveConnection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #reader = new MessageReader();
  #model: ModelName | undefined;
  #loaded: Digest | undefined;
  #farewell = false;
  /** Nothing more is read. */
  #isOver = false;
  /** Never rejects. */
  #labelled: Promise<unknown> = Promise.resolve();
  #waitingLabels = 0;
  readonly #word: PacedWord;
  readonly #allowance: Allowance;
  readonly #explained: RateLimit;
  /** Cuts the connection, whatever comes until then. */
  #deadline: NodeJS.Timeout;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    const { limits, clock, onSaid } = options;
    this.#word = new PacedWord(onSaid);
    this.#allowance = new Allowance(limits, clock);
    this.#explained = new RateLimit(MAX_EXPLAINED_PER_SECOND, () => clock.monotonic());
    this.#deadline = this.#endWithin(HELLO_TIMEOUT_MS);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => this.#left());
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (chunk.length >= FULL_READ_BYTES) this.#letOthersGoOn();
    if (this.#isOver) return;
    try {
      for (const message of this.#reader.push(chunk)) this.#answer(message);
    } catch (error) {
      // Where the next message begins is not known.
      this.#tell(error);
      this.#end();
    }
  }

  #letOthersGoOn(): void {
    this.#socket.pause();
    setImmediate(() => this.#socket.resume());
  }

  #answer({ json, payload }: RawMessage): void {
    if (this.#isOver) return;
    const mayBeExplained = this.#explained.hasRoom;
    try {
      this.#handle(readMessage(json, mayBeExplained), payload);
    } catch (error) {
      if (mayBeExplained && this.#explained.take()) this.#tell(error);
    }
  }

  #handle(message: ObserveMessage, payload: Uint8Array | undefined): void {
    if (message.type === 'hello') {
      this.#hello(message);
      return;
    }
    const model = this.#model;
    if (model === undefined) throw invalid('the first message has to be "hello"');
    const { id: connection } = this.#options;
    switch (message.type) {
      case 'loaded':
        this.#loaded = message.digest;
        this.#word.say({ connection, model, what: 'loaded', digest: message.digest });
        return;
      case 'refused':
        this.#word.say({ connection, model, what: 'refused', digest: message.digest, reason: message.reason });
        return;
      case 'inference':
        if (this.#allowance.mayCount()) this.#observe(model, message, payload);
        this.#complain();
        return;
      case 'label':
        this.#takeLabel(model, message);
        return;
      case 'bye':
        this.#farewell = true;
        this.#isOver = true;
        this.#complain({ isLast: true });
        // Who said it may wait for the answers to what it sent before.
        void this.#labelled.then(() => {
          this.#reply({ type: 'bye' });
          this.#end();
        });
    }
  }

  #hello({ model, runtime, loaded }: { model: ModelName; runtime?: string; loaded?: Digest }): void {
    if (this.#model !== undefined) throw invalid('"hello" was said before; use one connection for each model');
    const { id: connection, known, onSaid } = this.#options;
    const found = known.of(model);
    if (!found) throw notConfigured(model);
    this.#model = model;
    clearTimeout(this.#deadline);
    onSaid({ connection, model, what: 'hello', runtime });
    if (loaded !== undefined) {
      this.#loaded = loaded;
      this.#word.say({ connection, model, what: 'loaded', digest: loaded });
    }
    const [wanted] = found.releases;
    const release = wanted && { version: wanted.installed.release.version, digest: wanted.installed.loaded };
    this.#reply({ type: 'welcome', protocol: 1, model, path: found.path, ...(release && { release }) });
  }

  #observe(model: ModelName, message: ObservedInference, payload: Uint8Array | undefined): void {
    const { recorder, clock } = this.#options;
    const { installed, inputChecker } = this.#loadedRelease(model);
    const atMs = clock.now();
    const { inputs, record } = readObservation(message, payload, installed, atMs);
    // What has been run cannot be refused any more, whatever the contract says of such inputs.
    if (inputChecker && Object.keys(inputs).length > 0)
      recorder.inputs(inputCounts(servedBy(installed), { ...inputChecker.check(inputs), offence: undefined }, atMs));
    recorder.record(this.#allowance.mayKeepRows(rowBytes(record)) ? record : withoutRows(record));
  }

  /** The release that made an answer: by the word of the application. */
  #loadedRelease(model: ModelName): KnownRelease {
    const loaded = this.#loaded;
    const known = this.#options.known.of(model)?.releases.find(({ installed }) => installed.loaded === loaded);
    if (known) return known;
    throw new AttachError(
      'OBSERVE_NOT_LOADED',
      loaded === undefined
        ? `It is not known which release of ${model} answers.`
        : `${loaded} is no release of ${model} that this device has.`,
      { remedy: 'Say "loaded" with the digest of the model file that the application has loaded, then observe.' },
    );
  }

  /** Each is answered, under its id. */
  #takeLabel(model: ModelName, message: ObservedLabel): void {
    const { id, labels } = message;
    if (this.#waitingLabels > 0 && this.#waitingLabels + labels.length > MAX_WAITING_LABELS) {
      this.#tell(tooFast(`The label was not taken: ${this.#waitingLabels} wait to be stored.`), id);
      return;
    }
    if (!this.#allowance.mayCount()) {
      this.#tell(tooFast('The label was not taken: too many observations came in a second.'), id);
      return;
    }
    this.#waitingLabels += labels.length;
    const labelled = this.#label(model, message).finally(() => (this.#waitingLabels -= labels.length));
    this.#labelled = Promise.all([this.#labelled, labelled]);
  }

  /** A tool that only labels has loaded nothing, and needs not say so. */
  async #label(model: ModelName, { id, labels }: ObservedLabel): Promise<void> {
    const { known, recorder, clock } = this.#options;
    try {
      const [newest] = known.of(model)?.releases ?? [];
      if (!newest) throw invalid(`no release of ${model} is on this device`);
      const truth = truthOf(newest.installed, labels);
      const outcome = await recorder.label({ model, requestId: id, atMs: clock.now(), ...truth });
      const { joined, repeated, conflicting, gone } = demandHeld(outcome, id, labels.length);
      this.#reply({ type: 'labelled', id, joined, repeated, conflicting, gone });
    } catch (error) {
      this.#tell(error, id);
    }
  }

  #complain(when?: { readonly isLast: boolean }): void {
    const complaint = this.#allowance.complaint(when);
    if (complaint) this.#tell(complaint);
  }

  #end(): void {
    this.#isOver = true;
    // What still comes is read and forgotten: closed with bytes unread, the socket would lose our last words.
    this.#deadline = this.#endWithin(END_TIMEOUT_MS);
    this.#socket.end();
  }

  #endWithin(timeoutMs: number): NodeJS.Timeout {
    clearTimeout(this.#deadline);
    return setTimeout(() => this.#socket.destroy(), timeoutMs);
  }

  #left(): void {
    clearTimeout(this.#deadline);
    this.#allowance.leave();
    if (this.#model === undefined) return;
    const { id: connection } = this.#options;
    this.#word.end({ connection, model: this.#model, what: 'left', farewell: this.#farewell });
  }

  #tell(error: unknown, id?: string): void {
    const { code, what, remedy } = toCodedErrorJson(error);
    this.#reply({ type: 'error', ...(id !== undefined && { id }), error: what, code, remedy });
  }

  #reply(message: object): void {
    if (this.#socket.writable && this.#socket.writableLength < MAX_UNREAD_BYTES)
      this.#socket.write(`${JSON.stringify(message)}\n`);
  }
}

const notConfigured = (model: ModelName): AttachError =>
  new AttachError('ATTACH_NOT_CONFIGURED', `No application of this device is attached for ${model}.`, {
    remedy: `Add ${model} to attach.models in agent.json, and restart the agent.`,
  });
