/** A path below one model, or one version of it. */
export interface ModelRoute {
  readonly kind: 'model' | 'model-ready' | 'infer';
  readonly model: string;
  readonly version?: string | undefined;
}

/** What a path asks for (Open Inference Protocol v2 REST; Triton's repository index; our extensions). */
export type Route =
  | { readonly kind: 'server' | 'live' | 'ready' | 'index' }
  | ModelRoute
  | {
      readonly kind: 'feedback' | 'labels' | 'label-answers' | 'parameters' | 'parameters-rejection';
      readonly model: string;
    }
  | { readonly kind: 'memory-register'; readonly region: string }
  | { readonly kind: 'memory-status' | 'memory-unregister'; readonly region?: string };

export const METHODS: Readonly<Record<Route['kind'], 'GET' | 'POST'>> = {
  server: 'GET',
  live: 'GET',
  ready: 'GET',
  index: 'POST',
  model: 'GET',
  'model-ready': 'GET',
  infer: 'POST',
  feedback: 'POST',
  labels: 'GET',
  'label-answers': 'POST',
  parameters: 'GET',
  'parameters-rejection': 'POST',
  'memory-status': 'GET',
  'memory-register': 'POST',
  'memory-unregister': 'POST',
};

const FIXED: Readonly<Record<string, Route>> = {
  '/v2': { kind: 'server' },
  '/v2/health/live': { kind: 'live' },
  '/v2/health/ready': { kind: 'ready' },
  '/v2/repository/index': { kind: 'index' },
};

const MODEL_PATH =
  /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?(?:\/(ready|infer|feedback|labels|labels\/answers|parameters|parameters\/rejection))?$/;

/** Triton's shared-memory extension; all regions where none is named. */
const MEMORY_PATH = /^\/v2\/systemsharedmemory(?:\/region\/([^/]+))?\/(status|register|unregister)$/;

/** Ours; they are about a model, and no version of it. */
const EXTENSIONS = {
  feedback: 'feedback',
  labels: 'labels',
  'labels/answers': 'label-answers',
  parameters: 'parameters',
  'parameters/rejection': 'parameters-rejection',
} as const;

/** Undefined for a path that means nothing here. */
export function routeOf(url: string): Route | undefined {
  const path = url.split(/[?#]/, 1)[0]?.replace(/\/+$/, '') ?? '';
  if (Object.hasOwn(FIXED, path)) return FIXED[path];
  try {
    const memory = MEMORY_PATH.exec(path);
    if (memory) return memoryRoute(memory);
    const [, modelText, versionText, action] = MODEL_PATH.exec(path) ?? [];
    if (modelText === undefined) return undefined;
    const model = decodeURIComponent(modelText);
    const version = versionText === undefined ? undefined : decodeURIComponent(versionText);
    switch (action) {
      case undefined:
        return { kind: 'model', model, version };
      case 'ready':
        return { kind: 'model-ready', model, version };
      case 'infer':
        return { kind: 'infer', model, version };
      default:
        return version === undefined ? { kind: EXTENSIONS[action as keyof typeof EXTENSIONS], model } : undefined;
    }
  } catch {
    // A malformed percent escape names nothing that could exist.
    return undefined;
  }
}

function memoryRoute([, regionText, action]: RegExpExecArray): Route | undefined {
  const region = regionText === undefined ? undefined : decodeURIComponent(regionText);
  if (action === 'register') return region === undefined ? undefined : { kind: 'memory-register', region };
  const kind = action === 'status' ? 'memory-status' : 'memory-unregister';
  return { kind, ...(region === undefined ? {} : { region }) };
}
