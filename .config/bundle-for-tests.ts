import { bundleAgent } from './bundle-agent.mjs';

/** Who compiles with tsc alone while developing gets the bundle of what was compiled. */
export default bundleAgent;
