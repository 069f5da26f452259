export { DEFAULT_WINDOW_ROWS, InputContract, InputRule, type ContractedInput, type InputRuleName } from './schema.js';
export { contractProblems, type SignedInput } from './problems.js';
export { sayColumn, sayRule } from './words.js';
export { InputChecker, type CheckedInputs, type Offence, type RuleCount } from './checker.js';
export { type CompiledRule } from './compile.js';
