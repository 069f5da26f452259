import { Compile, type XSchema } from 'typebox/schema';

type Json = Readonly<Record<string, unknown>>;
interface Content {
  readonly content?: { readonly 'application/json'?: { readonly schema: Json } };
}
interface OperationObject {
  readonly operationId: string;
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}

/** What is used here of an OpenAPI 3.0 document. */
export interface OpenApi {
  readonly paths: Readonly<Record<string, { readonly get?: OperationObject; readonly post?: OperationObject }>>;
  readonly components: Json;
}

/** One operation of a published document; `problems…` list where a body departs from its schema. */
export interface Operation {
  readonly id: string;
  readonly method: 'GET' | 'POST';
  /** With `{model_name}` and `{model_version}`. */
  readonly path: string;
  readonly statuses: readonly number[];
  readonly problemsOfRequest: (body: unknown) => string[];
  readonly problemsOfResponse: (status: number, body: unknown) => string[];
}

export function operationsOf({ paths, components }: OpenApi): Operation[] {
  const judge = (content: Content | undefined) => {
    const schema = content?.content?.['application/json']?.schema;
    // No schema is no promise about the body.
    if (!schema) return () => [];
    const compiled = Compile({ components: withJsonTypes(components), ...schema } as XSchema);
    return (body: unknown): string[] => {
      const [isValid, errors] = compiled.Errors(body);
      return isValid ? [] : errors.map(({ instancePath, message }) => `${instancePath}: ${message}`);
    };
  };
  return Object.entries(paths).flatMap(([path, { get, post }]) =>
    [get && ({ method: 'GET', object: get } as const), post && ({ method: 'POST', object: post } as const)]
      .filter((each) => each !== undefined)
      .map(({ method, object: { operationId, requestBody, responses } }) => {
        const request = judge(requestBody);
        const byStatus = new Map(
          Object.entries(responses).map(([status, content]) => [Number(status), judge(content)]),
        );
        return {
          id: operationId,
          method,
          path,
          statuses: [...byStatus.keys()],
          problemsOfRequest: request,
          problemsOfResponse: (status: number, body: unknown) =>
            byStatus.get(status)?.(body) ?? [`the status ${status} is not among those of ${operationId}`],
        };
      }),
  );
}

/** `{"type": "bytes"}` stands in the published document for the binary extension; in a JSON body nothing is of that type. */
const withJsonTypes = (components: Json): Json =>
  JSON.parse(JSON.stringify(components), (_, value: unknown) =>
    isJson(value) && value['type'] === 'bytes' ? { not: {} } : value,
  ) as Json;

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null;
