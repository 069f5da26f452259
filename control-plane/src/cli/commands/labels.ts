import { Command, Option } from 'commander';
import { readAnswers } from '../answers-file.js';
import { CliError } from '../errors.js';
import type { Session } from '../program.js';
import { formatTable, formatTime } from '../terminal.js';
import { parseCount } from '../units.js';

interface ListOptions {
  readonly state: 'open' | 'answered';
  readonly model?: string;
  readonly device?: string;
  readonly site?: string;
  readonly reason?: string;
  readonly after?: number;
  readonly limit: number;
}

interface NamedClass {
  readonly index: number;
  readonly name?: string;
}

interface LabelRequest {
  readonly id: string;
  readonly deviceId: string;
  readonly model: string;
  readonly version: string;
  readonly requestId?: string;
  readonly row: number;
  readonly reason: string;
  readonly expiresAt: number;
  readonly prediction: NamedClass;
  readonly confidence?: number;
  readonly answer?: {
    readonly label: NamedClass | null;
    readonly at: number;
    readonly by: string;
    readonly became: string;
  };
}

interface AnswerResult {
  readonly id: string;
  readonly error?: { readonly code: string; readonly what: string; readonly remedy: string };
}

/** Answers in one request; the control plane takes up to 1,000. */
const BATCH = 500;

export const labelCommands = ({ client, answer, progress }: Session): Command => {
  const labels = new Command('labels').description('What devices would like labelled (agent.json, labels).');

  labels
    .command('list')
    .description('List requests for labels, oldest first. With --json also their features.')
    .addOption(
      new Option('--state <state>', 'those that wait for an answer, or those that were answered here')
        .choices(['open', 'answered'])
        .default('open'),
    )
    .option('--model <model>', 'only of this model')
    .option('--device <id>', 'only of this device')
    .option('--site <site>', 'only of devices with this attribute "site"')
    .addOption(
      new Option('--reason <reason>', 'random: drawn evenly; targeted: the model was unsure').choices([
        'random',
        'targeted',
      ]),
    )
    .option('--after <number>', 'go on behind this one, as the last answer named it', parseCount)
    .option('--limit <count>', 'at most so many', parseCount, 100)
    .addHelpText('after', '\nExample:\n  drover labels list --model gas-classifier --site lab')
    .action(async (options: ListOptions) => {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(options)) query.set(name, String(value));
      const list = await client().get<{ items: LabelRequest[]; next?: number }>(`/label-requests?${query.toString()}`);
      const isOpen = options.state === 'open';
      const rows = list.items.map((each) => [
        each.id,
        each.deviceId,
        `${each.model}@${each.version}`,
        each.requestId === undefined ? `row ${each.row}` : `row ${each.row} of ${each.requestId}`,
        guessOf(each),
        ...(isOpen ? [each.reason, formatTime(each.expiresAt)] : answerCells(each)),
      ]);
      const more = list.next === undefined ? '' : `\nThere are more: --after ${list.next}`;
      const headings = [...COLUMNS, ...(isOpen ? ['REASON', 'UNTIL (UTC)'] : ['ANSWER', 'BY', 'BECAME'])];
      const none = isOpen ? NONE : 'Nothing was answered here.';
      answer(list, rows.length === 0 ? none : `${formatTable(headings, rows)}${more}`);
    });

  labels
    .command('answer')
    .description('Say what a sample really is; without a label, that nobody can tell.')
    .argument('<id>', 'of the request')
    .argument('[label]', 'name of the class, else its index')
    .addHelpText('after', '\nExample:\n  drover labels answer 1b4e28ba-… methane')
    .action(async (id: string, label: string | undefined) => {
      const path = `/label-requests/${encodeURIComponent(id)}/answer`;
      const request = await client().send<LabelRequest>('POST', path, { label: label ?? null });
      answer(request, `${SAID[request.answer?.became ?? ''] ?? SAID_OTHER} (drover labels list --state answered)`);
    });

  labels
    .command('import')
    .description('Send many answers: CSV of id,label, or one JSON object of id and label on each line.')
    .argument('<file>')
    .addHelpText(
      'after',
      '\nAn empty label, or null, says that nobody can tell.\n\nExample:\n  drover labels import answers.csv',
    )
    .action(async (file: string) => {
      const given = readAnswers(file);
      const refused: ({ line: number } & AnswerResult)[] = [];
      for (let start = 0; start < given.length; start += BATCH) {
        const batch = given.slice(start, start + BATCH);
        const answers = batch.map(({ id, label }) => ({ id, label }));
        const { items } = await client().send<{ items: AnswerResult[] }>('POST', '/label-answers', { answers });
        items.forEach((each, index) => {
          const line = batch[index]?.line ?? 0;
          if (each.error) refused.push({ line, ...each });
        });
        progress(`${Math.min(given.length, start + BATCH)} of ${given.length} sent`);
      }
      const taken = given.length - refused.length;
      const lines = refused.map(({ line, error }) => `line ${line}: ${error?.code ?? ''}: ${error?.what ?? ''}`);
      answer({ taken, refused }, [`${taken} of ${given.length} answers are taken.`, ...lines].join('\n'));
      if (refused.length > 0) {
        throw new CliError('CLI_ANSWERS_REFUSED', `${refused.length} of ${given.length} answers were refused.`, {
          where: file,
          remedy: refused[0]?.error?.remedy ?? 'Mend the named lines, and import the file again: what is taken stays.',
        });
      }
    });
  return labels;
};

const COLUMNS = ['REQUEST', 'DEVICE', 'RELEASE', 'SAMPLE', 'MODEL SAYS'];
const NONE = 'No label is asked for. Devices ask where "labels.perDay" is set, and tell with their next telemetry.';

const SAID: Readonly<Record<string, string>> = {
  waiting: 'Taken. The device gets it when it is connected, and says what became of it',
  joined: 'The label is joined with its sample',
};
const SAID_OTHER = 'This was answered before';

const nameOf = ({ index, name }: NamedClass): string => name ?? String(index);

function guessOf({ prediction, confidence }: LabelRequest): string {
  return `${nameOf(prediction)}${confidence === undefined ? '' : ` (${Math.round(confidence * 100)} %)`}`;
}

function answerCells({ answer }: LabelRequest): string[] {
  if (!answer) return ['-', '-', '-'];
  return [answer.label ? nameOf(answer.label) : 'nobody can tell', answer.by, answer.became];
}
