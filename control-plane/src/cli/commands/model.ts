import { Command } from 'commander';
import type { Digest } from '@drover/shared/ids';
import { InputContract } from '@drover/shared/input-contract';
import { Provider, Recipe, type Tolerance } from '@drover/shared/manifest';
import type { AssembledRelease } from '@drover/shared/release';
import { formatProblems, validate, type Problem } from '@drover/shared/validation';
import type { ModelSummary, Release } from '../../registry/index.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { readJson } from '../files.js';
import type { VerifiedModel } from '../model-signing/index.js';
import type { Session } from '../program.js';
import type { Signed } from '../release-builder/publish.js';
import type { StateGiven } from '../release-builder/states.js';
import type { TaskGiven } from '../release-builder/task/index.js';
import { modelCheckCommand } from './model-check.js';
import { modelFieldCommand } from './model-field.js';
import { modelInputsCommand } from './model-inputs.js';
import { uploadAndSign, withSigners, type SignersGiven } from './publishing.js';
import { withTaskOptions } from './task-options.js';
import { withdrawCommand } from './withdraw.js';
import { formatTable, formatTime } from '../terminal.js';
import {
  collectPair,
  collectState,
  collectText,
  parseCount,
  parseDuration,
  parseModelOrRelease,
  parseNumber,
  parseTolerance,
} from '../units.js';

interface PublishOptions extends SignersGiven, TaskGiven {
  readonly signed?: string;
  readonly model?: string;
  readonly version?: string;
  readonly description?: string;
  readonly samples?: string;
  readonly heldOut?: string;
  readonly golden?: string;
  readonly parent?: string;
  readonly contract?: string;
  readonly expectations?: string;
  readonly features?: string;
  readonly skipUnsupported?: true;
  readonly recipe?: string;
  readonly revertFloor?: string;
  readonly hardwareClass?: readonly string[];
  readonly requireProvider?: readonly string[];
  readonly state?: readonly StateGiven[];
  readonly maxSequences: number;
  readonly sequenceTimeout: number;
  readonly tolerance: Tolerance;
  readonly toleranceOn?: Readonly<Record<string, string>>;
  readonly agreement?: number;
  readonly maxLatencyMs?: number;
  readonly maxMemoryMib?: number;
  readonly window: number;
  readonly falseAlarms: number;
  readonly confirmWindows: number;
  readonly omsSignature?: string;
  readonly omsKey?: string;
  readonly omsCa?: string;
  readonly omsIdentity?: string;
  readonly omsFolder?: string;
}

export const modelCommands = (session: Session): Command => {
  const { client, answer, terminal } = session;
  const model = new Command('model').description('Models and their releases.');

  const publish = model
    .command('publish')
    .description(
      'Check an ONNX model, make a release of it, sign it and publish it; or publish one that several people have signed.',
    )
    .argument('[onnx]', 'the model file');
  withTaskOptions(withSigners(publish, 'the list of releases of this model'))
    .option('--model <name>', 'name of the model')
    .option('--version <version>', 'version of this release, such as 1.0.0')
    .option('--signed <file>', 'publish such a file once it is signed, instead of a model')
    .option('--description <text>', 'for people')
    .option(
      '--samples <file>',
      'normal inputs (.csv with heading, or .json): reference profile, drift thresholds, golden vectors',
    )
    .option(
      '--held-out <file>',
      'labelled inputs that the model never saw: accuracy in the contract, sealed anchor set',
    )
    .option(
      '--golden <file>',
      'golden vectors with answers from where the model was trained: it is refused where it answers otherwise here (default: samples with the answers of this machine)',
    )
    .option('--parent <version>', 'release that this one continues')
    .option('--contract <file>', 'JSON file: what inputs have to hold, and whether others are refused or counted')
    .option(
      '--expectations <file>',
      'suite of Great Expectations (JSON): its rules about columns join those of --contract, and only record without one',
    )
    .option('--features <names>', 'names of the columns of the input, in their order, as the suite has them: a,b,c')
    .option('--skip-unsupported', 'leave out what a device cannot hold of the suite, and say what')
    .option('--recipe <file>', 'JSON file: how devices may fine-tune it')
    .option('--revert-floor <version>', 'oldest release that the fleet may be sent back to')
    .option('--hardware-class <name>', 'hardware that it is for; may be repeated (default: any)', collectText)
    .option(
      '--require-provider <name>',
      'refuse it where no such execution provider runs it: tensorrt, cuda, webgpu or cpu; may be repeated (default: any will do)',
      collectText,
    )
    .option(
      '--tolerance <absolute,relative>',
      'how far answers on devices may be from those of this machine',
      parseTolerance,
      { absolute: 1e-3, relative: 1e-3 },
    )
    .option(
      '--tolerance-on <provider=absolute,relative>',
      'the same for one execution provider that computes otherwise; may be repeated',
      collectPair,
    )
    .option(
      '--state <input=output[:file.npy]>',
      'recurrent model: a state that the agent keeps for each sequence, and what it begins with (default: zeros); may be repeated',
      collectState,
    )
    .option('--max-sequences <n>', 'with --state: sequences at a time; a further one is refused', parseCount, 100)
    .option(
      '--sequence-timeout <duration>',
      'with --state: a sequence without requests for so long has ended',
      parseDuration,
      parseDuration('60s'),
    )
    .option(
      '--agreement <share>',
      'where answers are further off: how much of them has to agree all the same, by the measure of the task (default: all, with scores within the tolerance)',
      parseNumber,
    )
    .option('--max-latency-ms <ms>', 'contract: longest inference (with --max-memory-mib)', parseNumber)
    .option('--max-memory-mib <mib>', 'contract: most memory (with --max-latency-ms)', parseNumber)
    .option('--window <rows>', 'rows that a device compares at once with the reference profile', parseCount, 200)
    .option('--false-alarms <rate>', 'probability of a drift alarm per window without drift', parseNumber, 0.001)
    .option('--confirm-windows <n>', 'windows in a row that must exceed the threshold before an alarm', parseCount, 2)
    .option(
      '--oms-signature <file>',
      'OpenSSF model signature that the model file must have (with --oms-key or --oms-ca)',
    )
    .option('--oms-key <file>', 'public key of the signer, in PEM')
    .option('--oms-ca <file>', 'certificates of the authorities that may have certified the signer, in PEM')
    .option(
      '--oms-identity <name>',
      'with --oms-ca: email, URI, DNS name or common name that the certificate must name',
    )
    .option('--oms-folder <dir>', 'folder that was signed (default: the folder of the model file)')
    .addHelpText(
      'after',
      '\nExamples:\n  drover model publish net.onnx --model gas-classifier --version 1.0.0 --key dave.key --labels a,b,c --samples normal.csv' +
        '\n  drover keys sign gas-classifier-1.0.0.proposal.json --key erin.key' +
        '\n  drover model publish --signed gas-classifier-1.0.0.proposal.json',
    )
    .action(async (onnx: string | undefined, options: PublishOptions) => {
      const target = client();
      if (options.signed !== undefined) {
        const { publishProposal, readProposal } = await import('../ceremony/proposal-file.js');
        const published = await publishProposal(target, readProposal(options.signed));
        answer(
          { published },
          `Published ${published.map(({ role, version }) => `${role} version ${version}`).join(', ')}.`,
        );
        return;
      }
      const release = await build(target, onnx, options, (line) => terminal.err(line));
      const signed = await uploadAndSign(session, { client: target, release, signers: options });
      const { manifest, digest } = release;
      answer({ model: manifest.model, version: manifest.version, digest, ...signed }, outcomeOf(release, signed));
    });

  model
    .command('list')
    .description('List the models.')
    .addHelpText('after', '\nExample:\n  drover model list')
    .action(async () => {
      const list = await client().get<{ items: ModelSummary[] }>('/models');
      const rows = list.items.map((item) => [item.model, item.releases, item.newest, formatTime(item.lastPublishedAt)]);
      answer(list, formatTable(['MODEL', 'RELEASES', 'NEWEST', 'LAST PUBLISHED (UTC)'], rows));
    });

  model
    .command('show')
    .description('List the releases of a model, or show one of them with its manifest.')
    .argument('<model[@version]>')
    .addHelpText('after', '\nExample:\n  drover model show gas-classifier@1.0.0')
    .action(async (name: string) => {
      const { model: line, version } = parseModelOrRelease(name);
      const path = `/models/${encodeURIComponent(line)}/releases`;
      if (version !== undefined) {
        const release = await client().get<Release>(`${path}/${encodeURIComponent(version)}`);
        answer(release, JSON.stringify(release, undefined, 2));
        return;
      }
      const list = await client().get<{ items: Release[] }>(path);
      const rows = list.items.map((item) => [
        item.withdrawnAt === undefined ? item.version : `${item.version} (withdrawn)`,
        formatTime(item.publishedAt),
        item.publishedBy,
        item.digest,
      ]);
      answer(list, formatTable(['VERSION', 'PUBLISHED (UTC)', 'BY', 'DIGEST'], rows));
    });
  model.addCommand(modelCheckCommand(session));
  model.addCommand(modelFieldCommand(session));
  model.addCommand(modelInputsCommand(session));
  model.addCommand(withdrawCommand(session));
  return model;
};

const usage = (what: string, remedy: string) => new CliError('CLI_USAGE', what, { remedy });

function outcomeOf({ manifest: { model, version }, digest }: AssembledRelease, signed: Signed): string {
  if (!signed.published) {
    const open = signed.missing.flatMap((each) =>
      each.missing === 0 ? [] : each.open.map((keyId) => keyId.slice(0, 12)),
    );
    return `${model}@${version} is uploaded and not yet published: more signatures are needed.\nWritten to ${signed.file}. Next, by holders of ${open.join(', ')}: drover keys sign ${signed.file} --key THEIR.key\nThen: drover model publish --signed ${signed.file}`;
  }
  const begun = signed.begun
    ? '\nThe release repository was begun with it. Give its root to each device: drover keys export root.json'
    : '';
  return `Published ${model}@${version}\n${digest}${begun}`;
}

async function build(
  client: Client,
  onnx: string | undefined,
  options: PublishOptions,
  warn: (line: string) => void,
): Promise<AssembledRelease> {
  const { model, version } = options;
  if (onnx === undefined || model === undefined || version === undefined) {
    throw usage('A model file, --model and --version are needed.', 'See `drover model publish --help` for an example.');
  }
  // Loaded only when a release is built: it brings the ONNX reader and, on the first run, ONNX Runtime.
  const { buildRelease } = await import('../release-builder/build.js');
  const { taskGivenOf } = await import('../release-builder/task/index.js');
  const given = {
    agreement: options.agreement,
    description: options.description,
    samplesFile: options.samples,
    heldOutFile: options.heldOut,
    goldenFile: options.golden,
    parent: options.parent === undefined ? undefined : await digestOfRelease(client, model, options.parent),
    inputs: options.contract === undefined ? undefined : readContract(options.contract),
    expectations: await readExpectations(options),
    recipe: options.recipe === undefined ? undefined : readRecipe(options.recipe),
    revertFloor: options.revertFloor,
    signedModel: await verifySignature(onnx, options, warn),
    maxLatencyMs: options.maxLatencyMs,
    maxMemoryMiB: options.maxMemoryMib,
  };
  return buildRelease({
    ...taskGivenOf(options),
    onNote: warn,
    modelFile: onnx,
    model,
    version,
    createdAt: new Date(),
    hardwareClasses: options.hardwareClass ?? ['*'],
    ...providersOf(options),
    ...sequencesOf(options),
    parity: options.tolerance,
    drift: {
      windowSize: options.window,
      falseAlarmsPerWindow: options.falseAlarms,
      confirmWindows: options.confirmWindows,
      seed: 1,
    },
    ...withoutAbsent(given),
  });
}

const sequencesOf = ({ state: states, maxSequences, sequenceTimeout: idleTimeoutMs }: PublishOptions) =>
  states && { sequences: { states, maxSequences, idleTimeoutMs } };

/** @throws CliError CLI_USAGE */
function providersOf({ requireProvider, toleranceOn }: PublishOptions) {
  const wrong = (problems: readonly Problem[]) =>
    usage(`There is no such execution provider: ${formatProblems(problems)}.`, 'Name tensorrt, cuda, webgpu or cpu.');
  const requiredProviders = requireProvider?.map((name) => validate(Provider, name, wrong));
  const tolerances = Object.entries(toleranceOn ?? {}).map(
    ([name, text]) => [validate(Provider, name, wrong), parseTolerance(text)] as const,
  );
  return {
    ...(requiredProviders && { requiredProviders }),
    ...(tolerances.length > 0 && { providerParity: Object.fromEntries(tolerances) }),
  };
}

/** Before anything else is done with the file: a model that its signer did not sign is not even loaded. */
async function verifySignature(
  modelFile: string,
  { omsSignature, omsKey, omsCa, omsIdentity, omsFolder }: PublishOptions,
  warn: (line: string) => void,
): Promise<VerifiedModel | undefined> {
  if (omsSignature === undefined) {
    if ([omsKey, omsCa, omsIdentity, omsFolder].every((option) => option === undefined)) return undefined;
    throw usage('--oms-… options need --oms-signature.', 'Name the file that `model_signing sign` wrote.');
  }
  if ((omsKey === undefined) === (omsCa === undefined) || (omsIdentity !== undefined && omsCa === undefined))
    throw usage(
      '--oms-signature needs either --oms-key or --oms-ca (and --oms-identity only with the latter).',
      'Say whose signature it has to be: by the public key, or by an authority that certified the signer.',
    );
  const { verifyModelSignature } = await import('../model-signing/index.js');
  const verified = await verifyModelSignature(
    { modelFile, folder: omsFolder, signatureFile: omsSignature },
    omsKey === undefined ? { authoritiesFile: omsCa ?? '', identity: omsIdentity } : { keyFile: omsKey },
  );
  if (verified.certificateEndsAt && verified.certificateEndsAt.getTime() < Date.now()) {
    warn(
      `The signer's certificate ended on ${formatTime(verified.certificateEndsAt.getTime())}. The signature has no trusted time, so nobody can tell whether it is older.`,
    );
  }
  return verified;
}

type Present<Given> = { [Key in keyof Given]?: Exclude<Given[Key], undefined> };

function withoutAbsent<Given extends object>(given: Given): Present<Given> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Present<Given>;
}

async function digestOfRelease(client: Client, model: string, version: string): Promise<Digest> {
  const release = await client.get<Release>(
    `/models/${encodeURIComponent(model)}/releases/${encodeURIComponent(version)}`,
  );
  return release.digest;
}

async function readExpectations({ expectations, features, skipUnsupported }: PublishOptions) {
  if (expectations === undefined) {
    if (features === undefined && skipUnsupported === undefined) return undefined;
    throw usage('--features and --skip-unsupported need --expectations.', 'Name the suite that they are for.');
  }
  const { readSuite } = await import('../input-contract/suite.js');
  return {
    file: expectations,
    suite: readSuite(expectations),
    features: features?.split(',').map((name) => name.trim()),
    skipsUnsupported: skipUnsupported === true,
  };
}

const readContract = (file: string): InputContract =>
  validate(
    InputContract,
    readJson(file),
    (problems) =>
      new CliError('CLI_FILE_UNREADABLE', `This is no contract of inputs: ${formatProblems(problems)}.`, {
        where: file,
        remedy: 'Mend the named keys (docs/protocol.md, section 9).',
      }),
  );

const readRecipe = (file: string): Recipe =>
  validate(
    Recipe,
    readJson(file),
    (problems) =>
      new CliError('CLI_FILE_UNREADABLE', `This is no training recipe: ${formatProblems(problems)}.`, {
        where: file,
        remedy: 'Mend the named keys.',
      }),
  );
