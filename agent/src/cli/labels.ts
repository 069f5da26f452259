import { createInferenceClient, type InferenceClient, type LabelRequest } from '../client/index.js';
import type { AgentConfig } from '../config/index.js';
import type { Terminal } from './terminal.js';

/** Through the interface for applications, as any of them could ask. */
async function asking<Result>(
  { serve }: AgentConfig,
  ask: (client: InferenceClient) => Promise<Result>,
): Promise<Result> {
  const { host, port, socket } = serve;
  const client = createInferenceClient(
    socket === undefined ? { url: `http://${host}:${port}`, maxConnections: 1 } : { socketPath: socket },
  );
  try {
    return await ask(client);
  } finally {
    client.close();
  }
}

export async function listLabels(
  config: AgentConfig,
  model: string,
  asJson: boolean,
  terminal: Terminal,
): Promise<void> {
  const requests = await asking(config, (client) => client.labelRequests(model));
  if (asJson) terminal.stdout(`${JSON.stringify(requests)}\n`);
  else if (requests.length === 0) terminal.stdout(`No label of ${model} is asked for (agent.json, labels).\n`);
  else terminal.stdout(`${requests.map(lineOf).join('\n')}\n`);
}

const SHOWN_FEATURES = 8;

function lineOf({ id, request_id, row, prediction, confidence, reason, features }: LabelRequest): string {
  const shown = features?.slice(0, SHOWN_FEATURES).map((value) => value ?? 'NaN');
  const rest = features && features.length > SHOWN_FEATURES ? `, … (${features.length})` : '';
  const guess = `${prediction.label ?? prediction.index} (${confidence === null ? 'no number' : `${Math.round(confidence * 100)} %`})`;
  return `${id}  row ${row} of ${request_id}: ${guess}, ${reason}${shown ? `\n  ${shown.join(', ')}${rest}` : ''}`;
}

export async function answerLabel(
  config: AgentConfig,
  { model, id, label }: { readonly model: string; readonly id: string; readonly label: string | undefined },
  terminal: Terminal,
): Promise<void> {
  const given = label === undefined ? null : /^\d+$/.test(label) ? Number(label) : label;
  const became = await asking(config, (client) => client.answerLabel(model, id, given));
  terminal.stdout(`${SAID[became]}\n`);
}

const SAID: Readonly<Record<'joined' | 'repeated' | 'declined', string>> = {
  joined: 'Thank you: the label is joined with its sample.',
  repeated: 'The sample had this label already.',
  declined: 'Noted that nobody can tell; it is not asked for again.',
};
