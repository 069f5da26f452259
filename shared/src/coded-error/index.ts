/** Whose fault an error is: who has to act decides where it is reported and whether a retry can help. */
export type Fault = 'caller' | 'peer' | 'environment' | 'bug';

export interface CodeFacts {
  readonly fault: Fault;
  /** True when the same action may succeed later without anybody changing anything. */
  readonly retryable: boolean;
}

/** One table per domain declares its codes; docs/errors.md explains each, and a test compares both directions. */
export type CodeTable = Readonly<Record<string, CodeFacts>>;

export interface ErrorFacts {
  /** What the reader should do next, in plain English. */
  readonly remedy: string;
  /** Where it happened: a file, a JSON path, a topic, a URL. */
  readonly where?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Base of every error that Drover reports: `what` happened, `where`, and what to do. Domains derive one class each, with their own code table:
 *
 *     export const STORE_CODES = { STORE_DISK_FULL: { fault: 'environment', retryable: true } } as const satisfies CodeTable;
 *     export class StoreError extends CodedError<keyof typeof STORE_CODES> {
 *       constructor(code: keyof typeof STORE_CODES, what: string, facts: ErrorFacts) { super(STORE_CODES, code, what, facts); }
 *     }
 */
export abstract class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly fault: Fault;
  readonly retryable: boolean;
  readonly remedy: string;
  readonly where: string | undefined;

  protected constructor(table: Readonly<Record<Code, CodeFacts>>, code: Code, what: string, facts: ErrorFacts) {
    super(what, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = code;
    this.fault = table[code].fault;
    this.retryable = table[code].retryable;
    this.remedy = facts.remedy;
    this.where = facts.where;
  }

  toJSON(): CodedErrorJson {
    return {
      code: this.code,
      what: this.message,
      remedy: this.remedy,
      ...(this.where === undefined ? {} : { where: this.where }),
    };
  }
}

/** How a coded error travels: in reports, in HTTP bodies, over IPC. */
export interface CodedErrorJson {
  readonly code: string;
  readonly what: string;
  readonly remedy: string;
  readonly where?: string;
}

/** Three lines for a terminal: what, where, what to do. */
export function formatCodedError(error: CodedErrorJson): string {
  const where = error.where === undefined ? '' : `\n  where: ${error.where}`;
  return `${error.code}: ${error.what}${where}\n  do:    ${error.remedy}`;
}

/** The coded form of anything thrown. What carries no code is our bug and says so. */
export function toCodedErrorJson(error: unknown): CodedErrorJson {
  if (error instanceof CodedError) return error.toJSON();
  return {
    code: 'INTERNAL_ERROR',
    what: error instanceof Error ? error.message : String(error),
    remedy: 'This is a defect in Drover. Report it with the log around this line.',
  };
}

export const INTERNAL_CODES = { INTERNAL_ERROR: { fault: 'bug', retryable: false } } as const satisfies CodeTable;
