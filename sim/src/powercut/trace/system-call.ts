/** One system call that returned, as strace wrote it with `-f -y -xx`. */
export interface SystemCall {
  readonly name: string;
  readonly arguments: string;
  readonly result: number;
  /** Lines of the trace: a call of one thread may begin and end while others make theirs. */
  readonly beganAt: number;
  readonly endedAt: number;
}

const WHOLE = /^(\d+) +(\w+)\((.*)\) += (-?\d+)/;
const UNFINISHED = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/;
const RESUMED = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)/;

/** Successful calls in the order in which they returned. */
export function parseTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const open = new Map<string, { readonly start: string; readonly beganAt: number }>();
  text.split('\n').forEach((line, at) => {
    const unfinished = UNFINISHED.exec(line);
    if (unfinished) {
      const [, thread = '', , start = ''] = unfinished;
      open.set(thread, { start, beganAt: at });
      return;
    }
    const resumed = RESUMED.exec(line);
    const whole = resumed ? undefined : WHOLE.exec(line);
    const [, thread = '', name = '', text_ = '', result = ''] = resumed ?? whole ?? [];
    if (name === '') return;
    const begun = resumed ? open.get(thread) : undefined;
    open.delete(thread);
    if (Number(result) < 0) return;
    const beganAt = begun?.beganAt ?? at;
    calls.push({ name, arguments: `${begun?.start ?? ''}${text_}`, result: Number(result), beganAt, endedAt: at });
  });
  return calls;
}

const BYTES = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g;

/** The byte strings among the arguments. Throws where strace cut one short: a model of half the data would prove nothing. */
export function byteStrings(text: string): Buffer[] {
  return [...text.matchAll(BYTES)].map(([, escaped = '', cut]) => {
    if (cut !== undefined) throw new Error('strace cut a string short; it needs a larger -s');
    return Buffer.from(escaped.replaceAll('\\x', ''), 'hex');
  });
}

/** The path that -y adds to a file descriptor. */
export function descriptorsOf(text: string): { readonly descriptor: number; readonly path: string }[] {
  return [...text.matchAll(/(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>/g)].map(([, number = '', escaped = '']) => ({
    descriptor: Number(number),
    path: Buffer.from(escaped.replaceAll('\\x', ''), 'hex').toString(),
  }));
}

/** strace with all that changes files, and the events that the traced process tells. */
export const straceCommand = (outputFile: string): string[] => [
  'strace',
  '-f',
  '-y',
  '-xx',
  '-s',
  String(4 * 1024 ** 2),
  '--seccomp-bpf',
  '-o',
  outputFile,
  '-e',
  `trace=${TRACED.join(',')}`,
];

/** Calls that change files. What is not modelled but changes files stands here too, so that it is noticed. */
const TRACED = [
  ...['open', 'openat', 'openat2', 'creat', 'close', 'dup', 'dup2', 'dup3'],
  ...['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'ftruncate', 'truncate', 'fallocate', 'lseek'],
  ...['fsync', 'fdatasync', 'sync', 'syncfs', 'sync_file_range', 'msync'],
  ...['rename', 'renameat', 'renameat2', 'link', 'linkat', 'unlink', 'unlinkat', 'mkdir', 'mkdirat', 'rmdir'],
  ...['symlink', 'symlinkat', 'copy_file_range', 'sendfile', 'splice'],
];
