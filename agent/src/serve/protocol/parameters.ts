import { Type, type Static } from 'typebox';
import { MAX_PRIORITY } from '../scheduling/run-queue.js';
import type { InferCall } from './infer.js';
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

/** Of an input or output that lies in shared memory (Triton's shared-memory extension). */
export const PlaceParameters = Type.Object({
  shared_memory_region: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  shared_memory_byte_size: Type.Optional(size),
  shared_memory_offset: Type.Optional(size),
});

export const scheduleOf = ({ priority = 0, timeout = 0 }: Static<typeof ScheduleParameters> = {}): Pick<
  InferCall,
  'priority' | 'deadlineMs'
> => ({
  priority: priority || undefined,
  deadlineMs: timeout === 0 ? undefined : performance.now() + timeout / 1_000,
});

/** Region and size go together. @throws ServeError REQUEST_INVALID */
export function placeOf(tensor: string, given: Static<typeof PlaceParameters> = {}): Place | undefined {
  const { shared_memory_region: region, shared_memory_byte_size: byteSize, shared_memory_offset: offset = 0 } = given;
  if (region === undefined && byteSize === undefined) return undefined;
  if (region !== undefined && byteSize !== undefined) return { region, byteSize, offset };
  throw invalid(`${JSON.stringify(tensor)} needs both shared_memory_region and shared_memory_byte_size`);
}

/** Of an answered output. */
export const placeParameters = ({ region, byteSize, offset }: Place) => ({
  shared_memory_region: region,
  shared_memory_byte_size: byteSize,
  shared_memory_offset: offset,
});
