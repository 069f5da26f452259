import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';

const clip = (text: string, maxLength: number): string =>
  text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`;

/** A coded error within the bounds of the report schema, so that one long message cannot make a report unreadable. */
export const toReportableError = (error: unknown): CodedErrorJson => toReportable(toCodedErrorJson(error));

export const toReportable = ({ code, what, remedy, where }: CodedErrorJson): CodedErrorJson => ({
  code: clip(code, 64),
  what: clip(what, 2000),
  remedy: clip(remedy, 2000),
  ...(where === undefined ? {} : { where: clip(where, 500) }),
});
