#!/usr/bin/env node
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Option } from 'commander';
import { Type } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { newTally, replayEpisode, runCampaign, SavedCampaign, violationsOf } from './campaign/campaign.js';
import { KillPointCatalogue } from './campaign/catalogue.js';
import type { EpisodeViolation } from './campaign/episode.js';
import { LifeDecision } from './campaign/planner.js';
import { runTrialCommand, say, sayStopped, seldom, whole } from './command.js';
import { killControlPlanes, SavedControlPlaneCampaign, type ControlPlaneTally } from './control-plane/campaign.js';
import { TrialError } from './errors.js';
import { openSavedRun } from './saved-run.js';

interface Flags {
  readonly kills: number;
  readonly seed: number;
  readonly workers: number;
  readonly maxViolations: number;
  readonly target: 'device' | 'control-plane';
  readonly failures: string;
  readonly listPoints?: true;
  readonly json?: true;
  readonly resume?: string;
  readonly replay?: string;
}

/** Says what went wrong, and how to see it again. */
function tellViolation({ kind, what, trace, decisions }: EpisodeViolation, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${process.pid}-${Date.now()}.json`);
  writeFileSync(file, JSON.stringify(decisions, undefined, 2));
  say(`\n${kind.toUpperCase()}: ${what}\n${trace.join('\n')}\nAgain: npm run chaos -- --replay ${file}\n`);
}

async function killDevices(flags: Flags, signal: AbortSignal): Promise<number> {
  const { kills, workers, resume, maxViolations, failures } = flags;
  const saved = openSavedRun(resume, {
    trial: 'chaos --target device',
    settings: { seed: flags.seed },
    content: SavedCampaign,
  });
  const tally = saved.content?.tally ?? newTally(flags.seed);
  const catalogue = new KillPointCatalogue(saved.content?.catalogue);
  const before = tally.kills;
  const startedMs = Date.now();
  const figures = () => {
    const { bricked, lies, stuck } = tally;
    return { kills: tally.kills, killPoints: catalogue.reachedPoints().length, bricked, lies, stuck };
  };
  const summary = (): string => toLine(figures());
  const keep = (): void => saved.keep({ tally, catalogue: catalogue.toJSON() });
  const perKillMs = (): number => Math.round((Date.now() - startedMs) / Math.max(1, tally.kills - before));
  const onProgress = seldom(() => {
    keep();
    const known = catalogue.reachedPoints().length + catalogue.unreachedPoints().length;
    say(`${summary()} known=${known} survived=${tally.survived} of=${kills} (${perKillMs()} ms a kill)`);
  });
  const onViolation = (violation: EpisodeViolation): void => tellViolation(violation, failures);
  await runCampaign({ kills, workers, maxViolations, tally, catalogue, signal, onProgress, onViolation });
  keep();
  if (signal.aborted) sayStopped(resume);
  if (flags.listPoints) listPoints(catalogue);
  if (flags.json) {
    const { seed, survived, episodes } = tally;
    const more = { unreached: catalogue.unreachedPoints().length, survived, episodes, perKillMs: perKillMs() };
    process.stdout.write(`${JSON.stringify({ seed, ...figures(), ...more, completed: !signal.aborted })}\n`);
  }
  process.stdout.write(`${summary()}\n`);
  return violationsOf(tally) > 0 ? 1 : signal.aborted ? 130 : 0;
}

async function killControlPlane(flags: Flags, signal: AbortSignal): Promise<number> {
  const { kills, seed, maxViolations, resume } = flags;
  const saved = openSavedRun(resume, {
    trial: 'chaos --target control-plane',
    settings: { seed },
    content: SavedControlPlaneCampaign,
  });
  const catalogue = new KillPointCatalogue(saved.content?.catalogue);
  const before = saved.content?.tally ?? { kills: 0, lost: 0, repeated: 0, broken: 0 };
  const keep = (tally: ControlPlaneTally): void => saved.keep({ tally, catalogue: catalogue.toJSON() });
  const figures = (tally: ControlPlaneTally) => {
    const { lost, repeated, broken } = tally;
    return { kills: tally.kills, killPoints: catalogue.reachedPoints().length, lost, repeated, broken };
  };
  const tally = await killControlPlanes({
    kills,
    seed,
    catalogue,
    signal,
    maxViolations,
    tally: before,
    onKill: seldom((now: ControlPlaneTally) => {
      keep(now);
      say(`${toLine(figures(now))} of=${kills}`);
    }),
    onViolation: ({ kind, what }) => say(`\n${kind.toUpperCase()}: ${what}\n`),
  });
  keep(tally);
  if (signal.aborted) sayStopped(resume);
  if (flags.listPoints) listPoints(catalogue);
  if (flags.json) {
    const unreached = catalogue.unreachedPoints().length;
    process.stdout.write(`${JSON.stringify({ seed, ...figures(tally), unreached, completed: !signal.aborted })}\n`);
  }
  process.stdout.write(`${toLine(figures(tally))}\n`);
  return tally.lost + tally.repeated + tally.broken > 0 ? 1 : signal.aborted ? 130 : 0;
}

const toLine = (figures: Readonly<Record<string, number>>): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

function listPoints(catalogue: KillPointCatalogue): void {
  for (const point of catalogue.reachedPoints().sort()) process.stdout.write(`reached   ${point}\n`);
  for (const point of catalogue.unreachedPoints().sort()) process.stdout.write(`unreached ${point}\n`);
}

function readEpisode(file: string): LifeDecision[] {
  const refused = (what: string, cause?: unknown): TrialError =>
    new TrialError('EPISODE_UNREADABLE', what, {
      where: file,
      remedy: 'Name the file that was told with the violation.',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw refused(error instanceof Error ? error.message : String(error), error);
  }
  const episode = Type.Array(LifeDecision, { minItems: 1 });
  return validate(episode, json, (problems) => refused(`This is no episode: ${formatProblems(problems)}`));
}

async function replay(file: string, failures: string, signal: AbortSignal): Promise<number> {
  let violations = 0;
  await replayEpisode(readEpisode(file), signal, (violation) => {
    violations += 1;
    tellViolation(violation, failures);
  });
  process.stdout.write(`violations=${violations}\n`);
  return violations === 0 ? 0 : 1;
}

runTrialCommand<Flags>({
  name: 'chaos',
  description: 'Kills device processes at every write of the update path and judges what they do afterwards.',
  example: '--kills 10000 --seed 7 --resume chaos.json',
  addOptions: (command) =>
    command
      .option('--kills <n>', 'how many kills', whole, 600)
      .option('--seed <n>', 'makes the choices repeatable', whole, 1)
      .option('--workers <n>', 'devices at a time', whole, Math.min(2, availableParallelism()))
      .option('--max-violations <n>', 'end early after so many', whole, 20)
      .addOption(new Option('--target <what>', 'what is killed').choices(['device', 'control-plane']).default('device'))
      .option('--resume <file>', 'keep the tally there, and go on from it when it exists')
      .addOption(
        new Option('--replay <file>', 'repeat one episode that went wrong').conflicts([
          'kills',
          'seed',
          'workers',
          'maxViolations',
          'resume',
          'listPoints',
          'json',
        ]),
      )
      .option('--failures <folder>', 'where episodes that went wrong are kept', join(tmpdir(), 'drover-chaos-failures'))
      .option('--list-points', 'all kill points, reached and unreached, before the summary line'),
  async run(flags, signal, isGiven) {
    if (flags.target === 'control-plane')
      for (const flag of ['workers', 'failures', 'replay'] as const)
        if (isGiven(flag))
          throw new TrialError('FLAG_WITHOUT_EFFECT', `--${flag} does nothing with --target control-plane.`, {
            remedy: 'Leave it out, or kill devices.',
          });
    if (flags.replay !== undefined) return replay(flags.replay, flags.failures, signal);
    return (flags.target === 'device' ? killDevices : killControlPlane)(flags, signal);
  },
});
