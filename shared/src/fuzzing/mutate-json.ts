import type { SeededRandom } from '../statistics/index.js';
import { pick } from './mutate-bytes.js';

/** JSON text that JSON.stringify would not write: numbers beyond a double, doubled keys, nesting without end. */
class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
type Node = Raw | null | boolean | number | string | Node[] | Members;
/** A list, because a key may stand twice. */
class Members {
  readonly entries: [string, Node][];
  constructor(entries: [string, Node][]) {
    this.entries = entries;
  }
}

const nest = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);

const STRANGE: readonly string[] = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e400',
  '-1e400',
  '1e-400',
  '9007199254740993',
  '123456789012345678901234567890',
  '[]',
  '{}',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"__proto__"',
  '"../../../../etc/passwd"',
  '"9999-99-99T99:99:99Z"',
  JSON.stringify('A'.repeat(70_000)),
  `[${'0,'.repeat(20_000)}0]`,
  nest('[', ']', 200),
  nest('[', ']', 100_000),
  nest('{"a":', '}', 5_000).replace('}', '0}'),
];
const HOSTILE_KEYS: readonly [string, string][] = [
  ['__proto__', '{"polluted":1}'],
  ['constructor', '{"prototype":{"polluted":1}}'],
  ['prototype', '{"polluted":1}'],
  ['toString', '1'],
  ['hasOwnProperty', 'null'],
  ['toJSON', '1'],
  ['then', '1'],
  ['length', '4294967296'],
  ['', '1'],
];

const parse = (value: unknown): Node => {
  if (Array.isArray(value)) return value.map(parse);
  if (typeof value !== 'object' || value === null) return value as Node;
  return new Members(Object.entries(value).map(([key, child]) => [key, parse(child)]));
};

function print(node: Node): string {
  if (node instanceof Raw) return node.text;
  if (Array.isArray(node)) return `[${node.map(print).join(',')}]`;
  if (node instanceof Members)
    return `{${node.entries.map(([key, child]) => `${JSON.stringify(key)}:${print(child)}`).join(',')}}`;
  return JSON.stringify(node);
}

/** A place in the tree whose value can be read and replaced. */
interface Slot {
  readonly value: Node;
  set(value: Node): void;
}

function slotsOf(root: Slot): Slot[] {
  const slots = [root];
  for (const { value } of slots) {
    if (Array.isArray(value))
      value.forEach((child, index) => slots.push({ value: child, set: (next) => void (value[index] = next) }));
    else if (value instanceof Members)
      for (const entry of value.entries) slots.push({ value: entry[1], set: (next) => void (entry[1] = next) });
  }
  return slots;
}

type Change = (slot: Slot, random: SeededRandom, all: readonly Slot[]) => void;

const replace: Change = (slot, random) => slot.set(new Raw(pick(STRANGE, random)));
const CHANGES: readonly Change[] = [
  replace,
  replace,
  (slot, random, all) => slot.set(new Raw(print(pick(all, random).value))),
  (slot, random) => {
    const { value } = slot;
    if (value instanceof Members && value.entries.length > 0)
      value.entries.splice(random.nextInt(value.entries.length), 1);
    else replace(slot, random, []);
  },
  (slot, random) => {
    const { value } = slot;
    if (!(value instanceof Members) || value.entries.length === 0) {
      replace(slot, random, []);
      return;
    }
    const [key, child] = pick(value.entries, random);
    value.entries.push([key, random.next() < 0.5 ? child : new Raw(pick(STRANGE, random))]);
  },
  (slot, random) => {
    const { value } = slot;
    if (!(value instanceof Members)) {
      replace(slot, random, []);
      return;
    }
    const [key, text] = pick(HOSTILE_KEYS, random);
    value.entries.splice(random.nextInt(value.entries.length + 1), 0, [key, new Raw(text)]);
  },
  (slot, random) => {
    const { value } = slot;
    if (!Array.isArray(value) || value.length === 0) {
      replace(slot, random, []);
      return;
    }
    const child = pick(value, random);
    slot.set([...value, ...Array.from({ length: pick([1, 20, 2_000], random) }, () => child)]);
  },
  (slot, random) => {
    const { value } = slot;
    if (typeof value === 'number') slot.set(pick([-value, value + 1, value - 1, value * 2 ** 32, value / 3], random));
    else if (typeof value === 'string') {
      const at = random.nextInt(value.length + 1);
      slot.set(value.slice(0, at) + pick(['', '\0', '/', '..', ':', '💥', 'A', value], random) + value.slice(at + 1));
    } else replace(slot, random, []);
  },
];

/** Documents that were nested without end by a change before are no longer taken for trees. */
const MAX_DEPTH = 500;

/** One change to a JSON document, as a tree; undefined for bytes that are no JSON, or that are nested too deeply to walk. */
export function mutateJson(bytes: Uint8Array, random: SeededRandom): Uint8Array | undefined {
  const text = Buffer.from(bytes).toString('utf8');
  if (/[[{]/.test(text) && depthOf(text) > MAX_DEPTH) return undefined;
  let tree: Node;
  try {
    tree = parse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const slots = slotsOf({ value: tree, set: (next) => void (tree = next) });
  pick(CHANGES, random)(pick(slots, random), random, slots);
  return Buffer.from(print(tree));
}

/** At least the depth of the document: brackets in texts count as well. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const character of text) {
    if (character === '[' || character === '{') deepest = Math.max(deepest, (depth += 1));
    else if (character === ']' || character === '}') depth -= 1;
  }
  return deepest;
}
