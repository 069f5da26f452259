/**
 * The file that a child process or worker thread of the agent starts from: the bundle of that name, as on a device, where it lies beside the
 * caller's own (docs/adr/0005-bundled-agent.md). A caller that runs from the sources or from single modules (tests, the simulator) gets the bundle of the build.
 *
 * @param moduleUrl `import.meta.url` of the caller.
 * @param relative for example `./probe-main.js`
 */
export const processEntry = (moduleUrl: string, relative: string): URL =>
  new URL(new URL(relative, moduleUrl).href.replace(/^(.*\/agent)\/(?:src|dist)\/.*\//, '$1/dist/bundled/'));
