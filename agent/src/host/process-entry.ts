/**
 * The built file of a child process or worker thread that lies beside the module `moduleUrl`. Children need plain JavaScript: where the caller
 * itself runs from the sources (tests), its children start from the build.
 *
 * @param moduleUrl `import.meta.url` of the caller.
 * @param relative for example `./probe-main.js`
 */
export const processEntry = (moduleUrl: string, relative: string): URL =>
  new URL(new URL(relative, moduleUrl).href.replace('/agent/src/', '/agent/dist/').replace(/\.ts$/, '.js'));
