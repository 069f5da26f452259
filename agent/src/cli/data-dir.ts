import { access, constants, mkdir } from 'node:fs/promises';
import { AgentError } from '../supervisor/errors.js';

/** Makes the data folder where it is missing. @throws AgentError AGENT_DATA_DIR_UNUSABLE */
export async function prepareDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true });
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new AgentError('AGENT_DATA_DIR_UNUSABLE', `The data folder cannot be used: ${(cause as Error).message}.`, {
      where: dataDir,
      remedy: 'Give the agent a folder that it may write (dataDir), or run it as its own user.',
      cause,
    });
  }
}
