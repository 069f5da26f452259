import { Type, type Static } from 'typebox';

const CodedErrorDocument = Type.Object({
  code: Type.String(),
  what: Type.String(),
  remedy: Type.String(),
  where: Type.Optional(Type.String()),
});

/** What became of a part of the bundle. `known`: this device had it, or newer, already. */
const Outcome = Type.Union([
  Type.Object({ result: Type.Enum(['taken', 'known', 'none']) }),
  Type.Object({ result: Type.Literal('refused'), error: CodedErrorDocument }),
]);
export type ImportOutcome = Static<typeof Outcome>;

/** What the agent says of an import to whoever brought the bundle, by a file beside it. */
export const ImportAnswer = Type.Union([
  Type.Object({
    release: Type.Object({ model: Type.String(), version: Type.String(), digest: Type.String() }),
    metadata: Outcome,
    recovery: Outcome,
    order: Outcome,
  }),
  Type.Object({ error: CodedErrorDocument }),
]);
export type ImportAnswer = Static<typeof ImportAnswer>;

/** Where whoever brings a bundle puts it, under a name of its own; `importFolder` is below the data folder of the agent. */
export const importFolder = (dataDir: string): string => `${dataDir}/imports`;
export const IMPORT_SUFFIX = '.bundle';
export const ANSWER_SUFFIX = '.answer';
