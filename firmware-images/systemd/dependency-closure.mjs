// Which packages of the lockfile a workspace needs when it runs, and which of their files.

/** What packages name as dependencies but need only while they are installed. */
const INSTALL_ONLY = {
  'better-sqlite3': ['prebuild-install'],
  'onnxruntime-node': ['adm-zip', 'global-agent'],
};

/**
 * Install paths of everything that `start` needs, itself included; found as Node.js finds modules: from the importing folder upwards.
 *
 * @param {Record<string, any>} packages `packages` of a package-lock.json, version 3
 * @param {string} start a workspace, for example `agent`
 * @returns {string[]} sorted; a workspace is named by its folder (`shared`), not by its link in node_modules
 * @throws Error when the lockfile lacks a dependency that is neither optional nor a peer
 */
export function dependencyClosure(packages, start) {
  const found = new Set();
  const open = [start];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = packages[path];
    const skipped = INSTALL_ONLY[nameAt(path)] ?? [];
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      if (skipped.includes(name) || name.startsWith('@types/')) continue;
      const dependency = resolve(packages, path, name);
      if (dependency !== undefined) open.push(dependency);
      else if (name in dependencies && !(name in optionalDependencies)) {
        throw new Error(`package-lock.json has no ${name}, which ${path} needs. Run npm install, then try again.`);
      }
    }
  }
  return [...found].sort();
}

const nameAt = (path) => path.split('node_modules/').at(-1);

function resolve(packages, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    const candidate = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    const entry = packages[candidate];
    if (entry) return entry.link ? entry.resolved : candidate;
    if (folder === '') return undefined;
  }
}

const NEVER = /\.(map|md|markdown|tsbuildinfo|[cm]?ts)$/i;
const LEGAL = /^(licen[cs]e|notice|copying|thirdparty)/i;
/** Packages that ship much more than what runs: the pattern is tested against the path inside the package. */
const KEEP = {
  'better-sqlite3': () => /^(lib\/|package\.json$|build\/Release\/better_sqlite3\.node$)/,
  'onnxruntime-node': ({ os, arch }) => new RegExp(`^(dist/|package\\.json$|bin/napi-v\\d+/${os}/${arch}/)`),
};

/** Licences and notices, which every copy of a package's code must carry with it. */
export const isLegalFile = (file) => LEGAL.test(file);

/**
 * Whether a file of a package belongs into a bundle for `target`: no types, maps or prose, but every licence.
 *
 * @param {string} packagePath install path, as `dependencyClosure` gives it
 * @param {string} file path inside the package, with `/`
 * @param {{ os: string, arch: string }} target in the words of process.platform and process.arch
 */
export function isRunFile(packagePath, file, target) {
  if (isLegalFile(file)) return true;
  if (NEVER.test(file)) return false;
  return KEEP[nameAt(packagePath)]?.(target).test(file) ?? true;
}
