export { caseOf } from './cases.js';
export { DEFAULT_CASE_BOUNDS, judgeCase, type CaseBounds, type Finding, type FuzzTarget } from './target.js';
