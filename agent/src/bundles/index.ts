export { ANSWER_SUFFIX, IMPORT_SUFFIX, ImportAnswer, importFolder, type ImportOutcome } from './answer.js';
export { openBundle, bundleUnreadable, type BundleFile } from './bundle-file.js';
export { IMPORT_CODES, ImportError } from './errors.js';
export { openImports, type Imports } from './imports.js';
