export { DELIVERY_CODES, DeliveryError } from './errors.js';
export { descriptorSource, memorySource, type ByteSource } from './byte-source.js';
export { tensorSpans, type TensorSpan } from './onnx-tensors.js';
export { cutIntoChunks, MAX_CHUNK_BYTES } from './chunker.js';
export {
  buildChunkIndex,
  decodeChunkIndex,
  elementsOf,
  encodeChunkIndex,
  isChunkIndex,
  type Chunk,
  type ChunkIndex,
} from './chunk-index.js';
export { decodeFrame, encodeFrame, needsBase, TRANSFORMS, type Frame, type Transform } from './frame.js';
export {
  decodePackDirectory,
  encodePackDirectory,
  maxDirectoryBytes,
  type PackDirectory,
  type PackEntry,
} from './pack-directory.js';
export { makePack, type IndexedSource, type PackRecipe } from './make-pack.js';
export { isWorthAnIndex } from './worth.js';
export { pairTensors, type BaseLocator } from './tensor-pairs.js';
