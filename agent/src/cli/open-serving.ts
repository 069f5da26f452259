import { join } from 'node:path';
import { agentVersion, type AgentConfig } from '../config/index.js';
import { systemClock } from '../host/index.js';
import type { LabelDesk, Recorder } from '../serve/index.js';
import type { ParameterServing, Serving, TrialServing } from '../update/index.js';

/** `serve`: the agent runs models, and applications ask it. `attach`: applications run them, and the agent hands them the files. */
export type ServingMode = 'serve' | 'attach';

export interface OpenServingOptions {
  readonly config: AgentConfig;
  readonly hardwareClass: string;
  /** Where programs are looked for that the configuration names. */
  readonly searchPath: string | undefined;
  readonly recorder: Recorder;
  /** For applications that ask the agent which samples it would like labelled. */
  readonly labelDesk: LabelDesk;
  readonly onIncident: (error: unknown) => void;
}

export interface OpenedServing {
  readonly serving: Serving;
  readonly parameters: ParameterServing | undefined;
  readonly trials: TrialServing | undefined;
  /** Where applications find it, for the log and for whoever started the agent. */
  readonly where: { readonly servingUrl: string } | { readonly observeSocket: string };
  /** For `systemctl status`. */
  readonly summary: string;
  close(): Promise<void>;
}

/** Where programs of applications are looked for, unless the environment says. */
export const SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin';

export const observeSocketOf = ({ attach, dataDir }: AgentConfig): string =>
  attach.socket ?? join(dataDir, 'observe.sock');

/** Each mode is loaded only where it is used. @throws ServeError, AttachError */
export const openServing = (mode: ServingMode, options: OpenServingOptions): Promise<OpenedServing> =>
  mode === 'serve' ? openProcess(options) : openAttached(options);

async function openProcess({
  config,
  hardwareClass,
  recorder,
  labelDesk,
  onIncident,
}: OpenServingOptions): Promise<OpenedServing> {
  const { ProcessServing } = await import('../serve/index.js');
  const { host, port, socket, sharedMemory, maxBodyMiB, maxBatchDelayMs, maxResidentMiB, providers } = config.serve;
  const { protocolThreads } = config.serve;
  const serving = await ProcessServing.open({
    host,
    port,
    socket,
    sharedMemory,
    maxBodyBytes: maxBodyMiB * 1024 ** 2,
    maxBatchDelayMs,
    protocolThreads,
    maxResidentMiB,
    providers,
    hardwareClass,
    serverVersion: agentVersion(),
    clock: systemClock,
    recorder,
    labelDesk,
    onIncident,
  });
  const { address } = serving;
  const where = { servingUrl: `http://${address.host}:${address.port}` };
  const summary = `serving on ${address.host}:${address.port}`;
  return { serving, parameters: serving, trials: serving, where, summary, close: () => serving.close() };
}

async function openAttached({
  config,
  hardwareClass,
  searchPath = SEARCH_PATH,
  recorder,
  onIncident,
}: OpenServingOptions): Promise<OpenedServing> {
  const { AttachedServing } = await import('../attach/index.js');
  const { models, maxObservationsPerSecond } = config.attach;
  const socket = observeSocketOf(config);
  const serving = await AttachedServing.open({
    models,
    socket,
    maxObservationsPerSecond,
    providers: config.serve.providers,
    hardwareClass,
    searchPath,
    clock: systemClock,
    recorder,
    onIncident,
  });
  const summary = `observing on ${socket}`;
  const where = { observeSocket: socket };
  return { serving, parameters: undefined, trials: undefined, where, summary, close: () => serving.close() };
}
