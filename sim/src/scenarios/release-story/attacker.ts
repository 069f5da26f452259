import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { digestHex, type DeviceId, type Digest } from '@drover/shared/ids';
import { deviceOfTopic, ordersTopic } from '@drover/shared/protocol';
import { parseKeyPair, type KeyPair } from '@drover/shared/trust';
import type { ControlPlaneProcess } from '../../fleet/index.js';

/**
 * Somebody who got hold of the broker's service password and of the control plane's disk: can read and publish every order, and change stored
 * bytes. What they do not have is the publisher's key and, unless the story is sabotaged, the director's.
 */
export interface Attacker {
  /** Orders overheard so far, oldest first. */
  overheard(device: DeviceId): readonly Buffer[];
  publishOrder(device: DeviceId, order: Buffer): Promise<void>;
  /** Flips one bit of a stored file. */
  tamper(digest: Digest): Promise<void>;
  stealDirectorKey(): Promise<KeyPair>;
  close(): Promise<void>;
}

export async function hireAttacker({ mqttUrl, servicePassword, dataDir }: ControlPlaneProcess): Promise<Attacker> {
  const client = await connectAsync(mqttUrl, {
    username: 'service',
    password: servicePassword,
    clientId: 'attacker',
    protocolVersion: 4,
  });
  const heard = new Map<DeviceId, Buffer[]>();
  client.on('message', (topic, payload) => {
    const device = deviceOfTopic(topic, 'orders');
    if (device) heard.set(device, [...(heard.get(device) ?? []), payload]);
  });
  await client.subscribeAsync(ordersTopic('+' as DeviceId), { qos: 1 });
  return {
    overheard: (device) => heard.get(device) ?? [],
    publishOrder: async (device, order) => {
      await client.publishAsync(ordersTopic(device), order, { qos: 1 });
    },
    async tamper(digest) {
      const file = await findFile(dataDir, digestHex(digest));
      const bytes = await readFile(file);
      const middle = Math.floor(bytes.length / 2);
      bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
      await writeFile(file, bytes);
    },
    stealDirectorKey: async () =>
      parseKeyPair(JSON.parse(await readFile(await findFile(dataDir, 'director.key'), 'utf8'))),
    close: async () => {
      await client.endAsync();
    },
  };
}

async function findFile(folder: string, name: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found = entries.find((entry) => entry.isFile() && entry.name === name);
  if (!found) throw new Error(`There is no file ${name} below ${folder}.`);
  return join(found.parentPath, found.name);
}
