#!/usr/bin/env node
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { killPointsOf, newTally, replayEpisode, runCampaign, violationsOf, type Tally } from './campaign/campaign.js';
import type { EpisodeViolation } from './campaign/episode.js';
import type { LifeDecision } from './campaign/planner.js';
import { killControlPlanes } from './control-plane/campaign.js';

interface Flags {
  readonly kills: number;
  readonly seed: number;
  readonly workers: number;
  readonly maxViolations: number;
  readonly target: 'device' | 'control-plane';
  readonly json?: true;
  readonly resume?: string;
  readonly replay?: string;
}

const PROGRESS_EVERY_MS = 10_000;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
};

const summaryOf = (tally: Tally): string =>
  `kills=${tally.kills} killPoints=${killPointsOf(tally)} bricked=${tally.bricked} lies=${tally.lies} stuck=${tally.stuck}`;

/** Says what went wrong, and how to see it again. */
function tellViolation({ kind, what, trace, decisions }: EpisodeViolation): void {
  const file = join(tmpdir(), `drover-chaos-${process.pid}-${Date.now()}.json`);
  writeFileSync(file, JSON.stringify(decisions, undefined, 2));
  say(`\n${kind.toUpperCase()}: ${what}\n${trace.join('\n')}\nAgain: npm run chaos -- --replay ${file}\n`);
}

async function chaos(flags: Flags, signal: AbortSignal): Promise<number> {
  const { kills, seed, workers, resume } = flags;
  const tally =
    resume !== undefined && existsSync(resume) ? (JSON.parse(readFileSync(resume, 'utf8')) as Tally) : newTally(seed);
  const startedMs = Date.now();
  let toldMs = startedMs;
  const keep = (): void => {
    if (resume !== undefined) writeFileSync(resume, JSON.stringify(tally));
  };
  await runCampaign({
    kills,
    workers,
    maxViolations: flags.maxViolations,
    tally,
    signal,
    onProgress() {
      if (Date.now() - toldMs < PROGRESS_EVERY_MS) return;
      toldMs = Date.now();
      keep();
      const perHour = Math.round((tally.kills * 3_600_000) / (toldMs - startedMs));
      say(`${summaryOf(tally)} missed=${tally.missed} of=${kills} (${perHour} kills an hour in this run)`);
    },
    onViolation: tellViolation,
  });
  keep();
  if (signal.aborted) say('Stopped before the end. With --resume FILE the next run goes on from here.');
  if (flags.json) {
    const { bricked, lies, stuck, missed, episodes } = tally;
    const figures = { kills: tally.kills, killPoints: killPointsOf(tally), bricked, lies, stuck, missed, episodes };
    process.stdout.write(`${JSON.stringify({ seed: tally.seed, ...figures, completed: !signal.aborted })}\n`);
  }
  process.stdout.write(`${summaryOf(tally)}\n`);
  return violationsOf(tally) > 0 ? 1 : signal.aborted ? 130 : 0;
}

async function controlPlane({ kills, seed, json }: Flags, signal: AbortSignal): Promise<number> {
  const { points, ...figures } = await killControlPlanes({
    kills,
    seed,
    signal,
    onKill(tally) {
      if (tally.kills % 20 === 0) say(`kills=${tally.kills} of=${kills} killPoints=${tally.points.size}`);
    },
    onViolation: say,
  });
  const { lost, repeated, broken } = figures;
  if (json) process.stdout.write(`${JSON.stringify({ seed, ...figures, killPoints: points.size })}\n`);
  process.stdout.write(
    `kills=${figures.kills} killPoints=${points.size} lost=${lost} repeated=${repeated} broken=${broken}\n`,
  );
  return lost + repeated + broken > 0 ? 1 : signal.aborted ? 130 : 0;
}

async function replay(file: string, signal: AbortSignal): Promise<number> {
  let violations = 0;
  await replayEpisode(JSON.parse(readFileSync(file, 'utf8')) as LifeDecision[], signal, (violation) => {
    violations += 1;
    tellViolation(violation);
  });
  process.stdout.write(`violations=${violations}\n`);
  return violations === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const stopped = new AbortController();
  process.once('SIGINT', () => stopped.abort());
  process.once('SIGTERM', () => stopped.abort());
  let status = 0;
  const program = new Command('npm run chaos --')
    .description('Kills device processes at every write of the update path and judges what they do afterwards.')
    .option('--kills <n>', 'how many kills', whole, 300)
    .option('--seed <n>', 'makes the choices repeatable', whole, 1)
    .option('--workers <n>', 'devices at a time', whole, Math.min(2, availableParallelism()))
    .option('--max-violations <n>', 'end early after so many', whole, 20)
    .addOption(new Option('--target <what>', 'what is killed').choices(['device', 'control-plane']).default('device'))
    .option('--json', 'the figures as one JSON object before the summary line')
    .option('--resume <file>', 'keep the tally there, and go on from it when it exists')
    .option('--replay <file>', 'repeat one episode that went wrong')
    .addHelpText('after', '\nExample: npm run chaos -- --kills 10000 --seed 7 --resume chaos.json')
    .exitOverride()
    .action(async (flags: Flags) => {
      const { signal } = stopped;
      if (flags.replay !== undefined) status = await replay(flags.replay, signal);
      else status = await (flags.target === 'device' ? chaos : controlPlane)(flags, signal);
    });
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  return status;
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exit(1);
  },
);
