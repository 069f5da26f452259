import { open } from 'node:fs/promises';
import { OnnxError, scanOnnxFile, type ONNX_CODES } from '@drover/shared/onnx';

/** A model that would make the runtime open another file, or run code that was compiled elsewhere: nobody exports one by mistake for a fleet. */
export const FOREIGN_FILE = [
  'ONNX_EXTERNAL_DATA',
  'ONNX_UNSUPPORTED_OPERATOR',
] as const satisfies readonly (keyof typeof ONNX_CODES)[];

/**
 * Reads through a model file in constant memory, before any runtime sees it, and refuses one that would make the runtime open another file
 * (docs/protocol.md, section 3, step 6).
 *
 * @throws OnnxError ONNX_EXTERNAL_DATA, ONNX_UNSUPPORTED_OPERATOR, ONNX_NOT_A_MODEL, ONNX_TOO_LARGE; file system errors; the signal's reason
 */
export async function checkModelFile(file: string, signal: AbortSignal): Promise<void> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    await scanOnnxFile(
      {
        size,
        read: async ({ offset, bytes }) => {
          const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(bytes), 0, bytes, offset);
          return buffer.subarray(0, bytesRead);
        },
      },
      signal,
    );
  } finally {
    await handle.close();
  }
}

/**
 * The same for a download that is about to be staged, so that such a release is refused before anything of it is kept. What is no ONNX at all is
 * left to the probe, which says so in the words of the runtime.
 *
 * @throws OnnxError of FOREIGN_FILE; file system errors; the signal's reason
 */
export async function refuseForeignFiles(file: string, signal: AbortSignal): Promise<void> {
  try {
    await checkModelFile(file, signal);
  } catch (error) {
    const codes: readonly string[] = FOREIGN_FILE;
    if (!(error instanceof OnnxError) || codes.includes(error.code)) throw error;
  }
}
