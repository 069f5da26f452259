import { Type, type Static } from 'typebox';
import { bytesPerElement, Datatype, elementsOf } from '../tensors/index.js';
import { ManifestError } from './errors.js';
import type { Manifest, Variant } from './schema.js';

const strict = { additionalProperties: false } as const;
const name = Type.String({ minLength: 1, maxLength: 200 });
const axes = (minimum: number) => Type.Array(Type.Integer({ minimum }), { maxItems: 16 });

/**
 * A tensor that a recurrent model gives out with every request, and takes in with the next one of the same sequence. The device keeps it: it is in no
 * signature, clients neither send nor get it.
 */
export const SequenceState = Type.Object(
  {
    input: name,
    output: name,
    datatype: Datatype,
    /** −1 is an axis that may differ from request to request. */
    shape: axes(-1),
    /** What a sequence begins with: zeros, or the little-endian bytes of an asset of the kind `state`, by its path. */
    initial: Type.Object({ shape: axes(0), asset: Type.Optional(name) }, strict),
  },
  strict,
);
export type SequenceState = Static<typeof SequenceState>;

/** How a device keeps the state of a recurrent model between the requests of a sequence (docs/protocol.md, section 9). */
export const Sequences = Type.Object(
  {
    states: Type.Array(SequenceState, { minItems: 1, maxItems: 64 }),
    /** At a time; a further one is refused. */
    maxSequences: Type.Integer({ minimum: 1, maximum: 100_000 }),
    /** A sequence without requests for so long has ended. */
    idleTimeoutMs: Type.Integer({ minimum: 1_000, maximum: 86_400_000 }),
  },
  strict,
);
export type Sequences = Static<typeof Sequences>;

/** Of all states of one sequence, when it begins. */
const MAX_INITIAL_BYTES = 64 * 1024 ** 2;

/** What the schema cannot say of the states of a variant. @throws ManifestError MANIFEST_INVALID */
export function checkSequences(manifest: Pick<Manifest, 'assets'>, { name, signature, sequences }: Variant): void {
  if (!sequences) return;
  const { states } = sequences;
  const inputs = [...signature.inputs.map((each) => each.name), ...states.map(({ input }) => input)];
  const outputs = [...signature.outputs.map((each) => each.name), ...states.map(({ output }) => output)];
  const twice = [inputs, outputs].flatMap((names) => names.filter((each, index) => names.indexOf(each) !== index));
  const refuse = (why: string) =>
    new ManifestError('MANIFEST_INVALID', `The states of the variant "${name}" do not hold together: ${why}.`, {
      remedy: 'Mend `sequences` (docs/protocol.md, section 3), or let `drover model publish --state` make it.',
    });
  if (twice[0] !== undefined)
    throw refuse(`"${twice[0]}" stands twice among states and signature; a state is hidden from clients`);
  const initialBytes = states.map((state) => bytesOf(manifest, state, refuse));
  if (initialBytes.reduce((sum, each) => sum + each, 0) > MAX_INITIAL_BYTES)
    throw refuse(`a sequence would begin with more than ${MAX_INITIAL_BYTES} bytes`);
}

function bytesOf(
  { assets }: Pick<Manifest, 'assets'>,
  { input, datatype, shape, initial }: SequenceState,
  refuse: (why: string) => ManifestError,
): number {
  if (datatype === 'BYTES') throw refuse(`"${input}" holds strings; a state is numbers`);
  const fits =
    initial.shape.length === shape.length && shape.every((axis, index) => axis === -1 || axis === initial.shape[index]);
  if (!fits) throw refuse(`"${input}" begins as [${initial.shape.join(', ')}], which is no [${shape.join(', ')}]`);
  const bytes = elementsOf(initial.shape) * bytesPerElement(datatype);
  if (initial.asset === undefined) return bytes;
  const asset = assets.find(({ kind, file }) => kind === 'state' && file.path === initial.asset);
  if (asset?.file.bytes === bytes) return bytes;
  throw refuse(
    asset
      ? `"${initial.asset}" has ${asset.file.bytes} bytes, "${input}" begins with ${bytes}`
      : `there is no asset "${initial.asset}" of the kind "state"`,
  );
}
