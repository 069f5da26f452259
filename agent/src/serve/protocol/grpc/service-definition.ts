import { create, fromBinary, toBinary, type DescMessage, type DescService, type Message } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

type AnyMethod = MethodDefinition<unknown, unknown>;

/** The same service for the library that carries it: methods by their names in code; messages are those of protobuf-es, or what makes one. */
export const definitionOf = (service: DescService): ServiceDefinition =>
  Object.fromEntries(
    service.methods.map((method): [string, AnyMethod] => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
        responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
        requestSerialize: (message) => encode(method.input, message),
        requestDeserialize: (bytes) => fromBinary(method.input, bytes),
        responseSerialize: (message) => encode(method.output, message),
        responseDeserialize: (bytes) => fromBinary(method.output, bytes),
      },
    ]),
  );

function encode(schema: DescMessage, message: unknown): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, message as Message));
  return Buffer.from(buffer, byteOffset, byteLength);
}
