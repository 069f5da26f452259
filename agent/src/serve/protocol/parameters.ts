import { Type, type Static } from 'typebox';
import { MAX_PRIORITY } from '../scheduling/run-queue.js';
import type { InferCall, WantedOutput } from './infer.js';
import { invalid } from './invalid.js';
import type { Place } from './shared-memory.js';

// What stands in the `parameters` of a request and of its tensors, for both forms of the protocol. Unknown ones pass, as the protocol asks of servers.

const size = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** Of a request: Triton's schedule-policy extension. 0 stands for the default of each. */
export const ScheduleParameters = Type.Object({
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_PRIORITY })),
  /** In microseconds. */
  timeout: Type.Optional(size),
});

/** Of a request to a recurrent model: Triton's sequence extension. 0 and the empty string name no sequence. */
export const SequenceParameters = Type.Object({
  sequence_id: Type.Optional(Type.Union([size, Type.String({ maxLength: 200 })])),
  sequence_start: Type.Optional(Type.Boolean()),
  sequence_end: Type.Optional(Type.Boolean()),
});

export const RequestParameters = Type.Object({
  ...ScheduleParameters.properties,
  ...SequenceParameters.properties,
  /** Our extension: while a release is tried, requests with the same key are answered by the same release (docs/protocol.md, section 9). */
  drover_split_key: Type.Optional(Type.String({ maxLength: 200 })),
});

/** Of an input or output that lies in shared memory (Triton's shared-memory extension). */
export const PlaceParameters = Type.Object({
  shared_memory_region: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  shared_memory_byte_size: Type.Optional(size),
  shared_memory_offset: Type.Optional(size),
});

/** Of an output that is asked for: also Triton's classification extension, with how many classes to give. 0 asks for the output itself. */
export const OutputParameters = Type.Object({
  ...PlaceParameters.properties,
  classification: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
});

export const sequenceOf = ({
  sequence_id: id,
  sequence_start: isStart = false,
  sequence_end: isEnd = false,
}: Static<typeof SequenceParameters> = {}): InferCall['sequence'] => (id ? { id, isStart, isEnd } : undefined);

export const priorityOf = ({ priority = 0 }: Static<typeof ScheduleParameters> = {}): number | undefined =>
  priority || undefined;

/** By `performance.now()`. */
export const deadlineOf = ({ timeout = 0 }: Static<typeof ScheduleParameters> = {}): number | undefined =>
  timeout === 0 ? undefined : performance.now() + timeout / 1_000;

/** Region and size go together. @throws ServeError REQUEST_INVALID */
export function placeOf(tensor: string, given: Static<typeof PlaceParameters> = {}): Place | undefined {
  const { shared_memory_region: region, shared_memory_byte_size: byteSize, shared_memory_offset: offset = 0 } = given;
  if (region === undefined && byteSize === undefined) return undefined;
  if (region !== undefined && byteSize !== undefined) return { region, byteSize, offset };
  throw invalid(`${JSON.stringify(tensor)} needs both shared_memory_region and shared_memory_byte_size`);
}

/** @throws ServeError REQUEST_INVALID */
export function wantedOutput(name: string, given: Static<typeof OutputParameters> = {}): WantedOutput {
  const place = placeOf(name, given);
  const classes = given.classification || undefined;
  if (place && classes !== undefined)
    throw invalid(`${JSON.stringify(name)} cannot be given as classes in shared memory`);
  return { name, place, classes };
}

/** Of an answered output. */
export const placeParameters = ({ region, byteSize, offset }: Place) => ({
  shared_memory_region: region,
  shared_memory_byte_size: byteSize,
  shared_memory_offset: offset,
});
