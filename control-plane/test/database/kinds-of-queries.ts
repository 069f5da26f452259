import type { Db } from '../../src/database/index.js';

/** The same database, and what it is asked from now on: `SelectQueryNode`, `UpdateQueryNode`, … */
export function kindsOfQueries(db: Db): { readonly db: Db; readonly kinds: string[] } {
  const kinds: string[] = [];
  const watched = db.withPlugin({
    transformQuery: ({ node }) => {
      kinds.push(node.kind);
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  });
  return { db: watched, kinds };
}
