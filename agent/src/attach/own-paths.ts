import { resolve } from 'node:path';
import type { AgentConfig } from '../config/index.js';
import { AttachError } from './errors.js';

/**
 * Two models at one path would switch it in turns; one below the releases of another would be removed with them.
 *
 * @throws AttachError ATTACH_PATH_UNUSABLE
 */
export function demandOwnPaths(models: AgentConfig['attach']['models']): void {
  const taken = Object.entries(models).map(([model, { path }]) => ({ model, path: resolve(path) }));
  for (const one of taken) {
    const other = taken.find(
      ({ model, path }) => model !== one.model && (path === one.path || `${path}/`.startsWith(`${one.path}.releases/`)),
    );
    if (!other) continue;
    throw new AttachError('ATTACH_PATH_UNUSABLE', `The paths of ${one.model} and ${other.model} meet.`, {
      where: one.path,
      remedy: 'Give each model under attach.models a path of its own, outside of the folders beside the others.',
    });
  }
}
