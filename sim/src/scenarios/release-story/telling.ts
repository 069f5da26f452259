import { freePortOr } from './free-port.js';
import { playStory, STEPS, type StoryOptions, type StoryResult } from './story.js';
import type { Sabotage } from './scene.js';

export interface TellingOptions {
  readonly once: boolean;
  readonly json: boolean;
  readonly seed: number;
  readonly devices: number;
  readonly data?: string;
  readonly sabotage?: Sabotage;
  readonly only?: readonly number[];
  readonly port: number;
  readonly mqttPort: number;
  readonly signal: AbortSignal;
  readonly write: (text: string) => void;
}

/** Plays the story before an audience. @returns the exit status: 0 when every step held */
export async function tellStory(options: TellingOptions): Promise<number> {
  const { write, once, json, signal } = options;
  const say = (line: string): void => write(`${line}\n`);
  say(
    `Drover: the story of a release on ${options.devices} simulated devices and one real agent, ` +
      `${options.data === undefined ? 'in a generated world' : `on the real data in ${options.data}`} (seed ${options.seed}).`,
  );
  const story = await playStory({ ...options, ...(await portsOf(options)), dataDir: options.data, say });
  try {
    say('');
    say(table(story.result));
    if (!once && story.result.ok) {
      const { httpUrl, adminToken } = story.controlPlane;
      say(invitation(httpUrl, adminToken));
      await untilAborted(signal);
      say('Stopping.');
    }
  } finally {
    await story.close();
  }
  if (json) {
    const steps = story.result.steps.map(({ name, ok, detail }) => ({ name, ok, detail }));
    write(`${JSON.stringify({ ok: story.result.ok, steps })}\n`);
  }
  return story.result.ok ? 0 : 1;
}

/** A story that exits takes any ports, so that several can run at once; one that stays takes the well-known ones where they are free. */
async function portsOf({ once, port, mqttPort }: TellingOptions): Promise<Pick<StoryOptions, 'httpPort' | 'mqttPort'>> {
  if (once) return { httpPort: 0, mqttPort: 0 };
  return { httpPort: await freePortOr(port), mqttPort: await freePortOr(mqttPort) };
}

function table({ steps }: StoryResult): string {
  const rows = steps.map(({ name, ok, detail, seconds }) => {
    const number = String(STEPS.find((step) => step.name === name)?.number ?? '').padStart(2);
    return `${number}  ${name.padEnd(13)} ${ok ? 'ok  ' : 'FAIL'} ${`${seconds.toFixed(1)} s`.padStart(8)}  ${detail}`;
  });
  const total = steps.reduce((sum, { seconds }) => sum + seconds, 0);
  return [
    ' #  step          held     time  figures',
    ...rows,
    `    ${steps.filter(({ ok }) => ok).length} of ${steps.length} steps held in ${total.toFixed(0)} s`,
  ].join('\n');
}

const invitation = (url: string, token: string): string => `
The control plane goes on running, with its fleet. Stop it with Ctrl-C.
  address  ${url}   (API: ${url}/docs)
  token    ${token}

Next, in another terminal:
  npm run drover -- login ${url} --token ${token}
  npm run drover -- device list
  npm run drover -- model show gas-classifier@1.2.0
`;

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
