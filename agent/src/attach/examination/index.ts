import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import type { AgentConfig, AttachedModel } from '../../config/index.js';
import { applicationEnvironment } from '../environment.js';
import { checkHealth } from '../health-check.js';
import { demandOwnPaths } from '../own-paths.js';
import { examineHook, examineSelfTest } from './examine-hook.js';
import { examinePath } from './examine-path.js';
import { examineSocket } from './examine-socket.js';

export interface AttachExamined {
  /** Of an attached application, or of all of them. */
  readonly name: string;
  /** What was found, or what is wrong with it. */
  readonly found: string | CodedErrorJson;
}

export interface ExaminationOptions {
  readonly models: AgentConfig['attach']['models'];
  readonly socket: string;
  /** `PATH` of the programs that the configuration names. */
  readonly searchPath: string;
  readonly isAgentRunning: boolean;
}

const { signal } = new AbortController();

/** Looks at everything that attach mode needs, without touching what applications run. Nothing where no application is attached. */
export async function examineAttached(options: ExaminationOptions): Promise<AttachExamined[]> {
  const { models, socket, searchPath } = options;
  const attached = Object.entries(models);
  if (attached.length === 0) return [];
  const examined = [
    await examine('attach socket', () => examineSocket(socket, options)),
    await examine('attach paths', () => Promise.resolve(ownPaths(models))),
  ];
  for (const [model, settings] of attached) {
    const { path, reload, health, selfTest } = settings;
    const look = async (what: string, act: () => Promise<string>): Promise<void> =>
      void examined.push(await examine(`${model} ${what}`, act));
    await look('path', () => examinePath(path));
    if (reload) await look('reload', () => examineHook(reload, searchPath));
    if (health) await look('health', () => examineHealth(model, settings, searchPath));
    if (typeof selfTest === 'object') await look('self-test', () => examineSelfTest(selfTest.command, searchPath));
  }
  return examined;
}

function ownPaths(models: ExaminationOptions['models']): string {
  demandOwnPaths(models);
  return 'each model has a path of its own';
}

async function examineHealth(model: string, { path, health }: AttachedModel, searchPath: string): Promise<string> {
  if (!health) return 'none';
  const { loaded } = await checkHealth(health, await environmentOf(model, path, searchPath), signal);
  return loaded === undefined ? 'healthy' : `healthy, has loaded ${loaded}`;
}

/** As the agent would run it. */
async function environmentOf(model: string, path: string, searchPath: string) {
  const release = await readFile(join(path, 'release.json'), 'utf8').catch(() => '{}');
  const { version, loaded } = JSON.parse(release) as { version?: string; loaded?: string };
  return applicationEnvironment({ searchPath, model, path, version, loaded });
}

async function examine(name: string, act: () => Promise<string>): Promise<AttachExamined> {
  try {
    return { name, found: await act() };
  } catch (error) {
    return { name, found: toCodedErrorJson(error) };
  }
}
