import fastify from 'fastify';
import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';

// What people write: a Fastify handler with a JSON body around `session.run`.

process.on('message', ({ modelFile, input, shape }: { modelFile: string; input: string; shape: readonly number[] }) => {
  void (async () => {
    const session = await InferenceSession.create(modelFile, { logSeverityLevel: 3 });
    const app = fastify({ bodyLimit: 64 * 1024 * 1024 });
    app.post<{ Body: { data: number[] } }>('/infer', async ({ body }) => {
      const results = await session.run({ [input]: new Tensor('float32', Float32Array.from(body.data), shape) });
      return Object.fromEntries(
        Object.entries(results).map(([name, { dims, data }]) => [
          name,
          { dims, data: Array.from(data as Float32Array) },
        ]),
      );
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    process.send?.({ port: (app.server.address() as { port: number }).port });
  })();
});

process.once('disconnect', () => process.exit(0));
