import { readFileSync } from 'node:fs';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';
import { formatProblems, validate } from '../validation/index.js';

export const CONFIGURATION_CODES = {
  CONFIG_INVALID: { fault: 'caller', retryable: false },
  CONFIG_UNREADABLE: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class ConfigurationError extends CodedError<keyof typeof CONFIGURATION_CODES> {
  constructor(code: keyof typeof CONFIGURATION_CODES, what: string, facts: ErrorFacts) {
    super(CONFIGURATION_CODES, code, what, facts);
  }
}

export interface ConfigurationSources {
  /** A JSON file; absent means defaults and environment alone. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `DROVER_AGENT_`: every variable that begins so must name a key, `serve.port` as `DROVER_AGENT_SERVE_PORT`. */
  readonly prefix: string;
  /** Variables under the prefix that are read elsewhere. */
  readonly ignored?: readonly string[];
}

interface SchemaNode {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly anyOf?: readonly { readonly const?: unknown }[];
}

/**
 * Reads configuration: file, then environment over it, then the schema's defaults for what neither names.
 * Unknown keys and bad values are refused, all of them at once.
 *
 * @throws ConfigurationError CONFIG_UNREADABLE, CONFIG_INVALID
 */
export function readConfiguration<Schema extends TSchema>(
  schema: Schema,
  sources: ConfigurationSources,
): Static<Schema> {
  const document = sources.file === undefined ? {} : readFile(sources.file);
  const unknown = overlayEnvironment(document, schema, sources);
  const where = [sources.file, `${sources.prefix}* in the environment`].filter(Boolean).join(', ');
  if (unknown.length > 0) {
    throw new ConfigurationError(
      'CONFIG_INVALID',
      `These variables name no configuration key: ${unknown.join(', ')}.`,
      {
        where,
        remedy: 'Correct or unset them; docs/operations.md lists every key.',
      },
    );
  }
  return validate(
    schema,
    Value.Default(schema, document),
    (problems) =>
      new ConfigurationError(
        'CONFIG_INVALID',
        `The configuration is wrong in ${problems.length} place(s): ${formatProblems(problems)}.`,
        {
          where,
          remedy: 'Correct the named keys; docs/operations.md lists every key.',
        },
      ),
  );
}

function readFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigurationError(
      'CONFIG_UNREADABLE',
      `The configuration file cannot be read: ${(cause as Error).message}.`,
      {
        where: file,
        remedy: 'Create it, correct its permissions, or name another with --config.',
        cause,
      },
    );
  }
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
    throw new SyntaxError('it must hold one JSON object');
  } catch (cause) {
    throw new ConfigurationError(
      'CONFIG_UNREADABLE',
      `The configuration file is not JSON: ${(cause as Error).message}.`,
      {
        where: file,
        remedy: 'Correct the syntax; the message names the place.',
        cause,
      },
    );
  }
}

function overlayEnvironment(
  document: Record<string, unknown>,
  schema: SchemaNode,
  sources: ConfigurationSources,
): string[] {
  const unknown: string[] = [];
  for (const [name, text] of Object.entries(sources.environment)) {
    if (text === undefined || !name.startsWith(sources.prefix) || sources.ignored?.includes(name)) continue;
    const path = pathOf(schema, name.slice(sources.prefix.length));
    if (!path) unknown.push(name);
    else assign(document, path.keys, valueOf(path.leaf, text));
  }
  return unknown;
}

/** `SERVE_PORT` → serve.port, by walking the schema: the names of keys decide where an underscore separates. A unit (MiB) is one word. */
function pathOf(node: SchemaNode, name: string): { keys: string[]; leaf: SchemaNode } | undefined {
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const upper = key
      .replace(/MiB$/, 'Mib')
      .replace(/[A-Z]/g, (letter) => `_${letter}`)
      .toUpperCase();
    if (upper === name) return { keys: [key], leaf: child };
    if (child.properties && name.startsWith(`${upper}_`)) {
      const rest = pathOf(child, name.slice(upper.length + 1));
      if (rest) return { keys: [key, ...rest.keys], leaf: rest.leaf };
    }
  }
  return undefined;
}

/** Text that does not fit the type stays text, so that the schema's complaint names the key. */
function valueOf(leaf: SchemaNode, text: string): unknown {
  switch (leaf.type) {
    case 'integer':
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'array':
      return text === '' ? [] : text.split(',').map((item) => item.trim());
    case 'object': {
      const pairs = text === '' ? [] : text.split(',').map((pair) => pair.trim());
      if (!pairs.every((pair) => pair.indexOf('=') > 0)) return text;
      return Object.fromEntries(
        pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
      );
    }
    default:
      return text;
  }
}

function assign(document: Record<string, unknown>, keys: readonly string[], value: unknown): void {
  const [key, ...rest] = keys;
  if (key === undefined) return;
  if (rest.length === 0) {
    document[key] = value;
    return;
  }
  const child = document[key];
  const inner = typeof child === 'object' && child !== null ? (child as Record<string, unknown>) : {};
  document[key] = inner;
  assign(inner, rest, value);
}
