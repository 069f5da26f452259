import { CliError } from './errors.js';
import type { StateGiven } from './release-builder/states.js';

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const usage = (what: string, remedy: string) => new CliError('CLI_USAGE', what, { remedy });

/** `90s`, `15m`, `1h`, `7d` in milliseconds. @throws CliError CLI_USAGE */
export function parseDuration(text: string): number {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const unitMs = UNITS_MS[unit ?? ''];
  if (amount !== undefined && unitMs !== undefined) return Number(amount) * unitMs;
  throw usage(`"${text}" is no duration.`, 'Write a whole number and a unit: 90s, 15m, 1h or 7d.');
}

/** @throws CliError CLI_USAGE */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw usage(`"${text}" is no number.`, 'Write a number such as 0.05 or 200.');
}

/** @throws CliError CLI_USAGE */
export function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usage(`"${text}" is no whole number.`, 'Write a whole number such as 3.');
}

/** `10%` or `0.1`. @throws CliError CLI_USAGE */
export function parseShare(text: string): number {
  const [, amount, percent] = /^(\d{1,3}(?:\.\d+)?)(%?)$/.exec(text.trim()) ?? [];
  const share = Number(amount) / (percent === '%' ? 100 : 1);
  if (share > 0 && share <= 1) return share;
  throw usage(`"${text}" is no share.`, 'Write a part of all requests, for example 10% or 0.1.');
}

/** Collects `NAME=VALUE` of an option that may be repeated. @throws CliError CLI_USAGE */
export function collectPair(text: string, collected: Readonly<Record<string, string>> = {}): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals > 0) return { ...collected, [text.slice(0, equals)]: text.slice(equals + 1) };
  throw usage(`"${text}" is not of the form NAME=VALUE.`, 'Write for example site=lab.');
}

/** `INPUT=OUTPUT` or `INPUT=OUTPUT:FILE.npy`; names of tensors may have colons. @throws CliError CLI_USAGE */
export function collectState(text: string, collected: readonly StateGiven[] = []): StateGiven[] {
  const [, input, output, initialFile] = /^([^=]+)=(.+?)(?::([^:]+\.npy))?$/.exec(text) ?? [];
  if (input !== undefined && output !== undefined)
    return [...collected, { input, output, ...(initialFile === undefined ? {} : { initialFile }) }];
  throw usage(
    `"${text}" names no state.`,
    'Write INPUT=OUTPUT, or INPUT=OUTPUT:FILE.npy for what sequences begin with.',
  );
}

export const collectText = (text: string, collected: readonly string[] = []): string[] => [...collected, text];

/** `0.001,0.01`: absolute and relative. @throws CliError CLI_USAGE */
export function parseTolerance(text: string): { absolute: number; relative: number } {
  const [absolute, relative, ...more] = text.split(',').map(parseNumber);
  if (absolute !== undefined && relative !== undefined && more.length === 0 && absolute >= 0 && relative >= 0)
    return { absolute, relative };
  throw usage(`"${text}" is no tolerance.`, 'Write two numbers, ABSOLUTE,RELATIVE, for example 0.001,0.01.');
}

/** `canary:3,half:50%,all:100%`: cumulative numbers or shares of the selected devices. @throws CliError CLI_USAGE */
export function parseStages(text: string): { name: string; devices?: number; share?: number }[] {
  return text.split(',').map((stage) => {
    const [, name, amount, percent] = /^([^:]{1,64}):(\d{1,7}(?:\.\d+)?)(%?)$/.exec(stage.trim()) ?? [];
    if (name === undefined || amount === undefined || (percent === '' && !/^\d+$/.test(amount))) {
      throw usage(
        `"${stage}" is no stage.`,
        'Write NAME:COUNT or NAME:PERCENT%, for example canary:3,half:50%,all:100%.',
      );
    }
    return percent === '%' ? { name, share: Number(amount) / 100 } : { name, devices: Number(amount) };
  });
}

/** `gas-classifier` or `gas-classifier@1.1.0`. @throws CliError CLI_USAGE */
export const parseModelOrRelease = (text: string): { model: string; version?: string } =>
  text.includes('@') ? parseReleaseName(text) : { model: text };

/** `gas-classifier@1.1.0`. @throws CliError CLI_USAGE */
export function parseReleaseName(text: string): { model: string; version: string } {
  const at = text.indexOf('@');
  if (at > 0 && at < text.length - 1) return { model: text.slice(0, at), version: text.slice(at + 1) };
  throw usage(`"${text}" names no release.`, 'Write MODEL@VERSION, for example gas-classifier@1.1.0.');
}
