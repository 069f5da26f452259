import type { CodedErrorJson } from '@drover/shared/coded-error';

const KEPT_PROBLEMS = 10;

/** The last problems, each told once: one that happens every second must not push out the others. */
export function createProblems(): { add(problem: CodedErrorJson): void; last(): readonly CodedErrorJson[] } {
  let problems: readonly CodedErrorJson[] = [];
  return {
    add(problem) {
      const others = problems.filter(({ code, where }) => code !== problem.code || where !== problem.where);
      problems = [...others, problem].slice(-KEPT_PROBLEMS);
    },
    last: () => problems,
  };
}
