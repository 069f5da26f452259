import { Type, type Static } from 'typebox';

const strict = { additionalProperties: false } as const;
const timeoutMs = (value: number) => Type.Integer({ minimum: 100, maximum: 600_000, default: value });
/** Absolute path of a program and its arguments; no shell reads them. */
const command = Type.Array(Type.String({ minLength: 1, maxLength: 4_096 }), { minItems: 1, maxItems: 64 });

const checked = {
  intervalMs: Type.Integer({ minimum: 100, maximum: 3_600_000, default: 5_000 }),
  timeoutMs: timeoutMs(5_000),
  /** So many in a row count as a crash. */
  failures: Type.Integer({ minimum: 1, maximum: 100, default: 3 }),
};

/** An application with its own runtime, and how a model is handed to it (docs/attach.md). */
export const AttachedModel = Type.Object(
  {
    /** A symbolic link that the agent makes: to the folder with the files of the release that shall run. */
    path: Type.String({ pattern: '^/.*[^/.]$', maxLength: 500 }),
    /** What makes the application load what lies at the path now. Without it the application watches the link by itself. */
    reload: Type.Optional(
      Type.Union([
        Type.Object({ command, timeoutMs: timeoutMs(30_000) }, strict),
        Type.Object(
          {
            signal: Type.Enum(['SIGHUP', 'SIGUSR1', 'SIGUSR2']),
            /** Holds the process id of the application, in decimal digits. */
            pidFile: Type.String({ pattern: '^/', maxLength: 500 }),
          },
          strict,
        ),
      ]),
    ),
    /** Time from the reload until the application has said that it loaded the release. */
    loadTimeoutMs: timeoutMs(60_000),
    health: Type.Optional(
      Type.Union([
        Type.Object({ command, ...checked }, strict),
        Type.Object({ http: Type.String({ pattern: '^http://[^/ ]+(/[^ ]*)?$', maxLength: 500 }), ...checked }, strict),
      ]),
    ),
    /** `probe`: the golden vectors, by the ONNX Runtime of the agent; `off`; or a program of the application, which is given the folder. */
    selfTest: Type.Union(
      [Type.Literal('probe'), Type.Literal('off'), Type.Object({ command, timeoutMs: timeoutMs(120_000) }, strict)],
      { default: 'probe' },
    ),
  },
  // Never used as such: TypeBox fills in defaults below a record only where its values have one.
  { ...strict, default: {} },
);
export type AttachedModel = Static<typeof AttachedModel>;
