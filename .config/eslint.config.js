import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** Architecture, section 8: shared ← agent, shared ← control-plane, {shared, agent} ← sim. */
const MAY_IMPORT = {
  shared: [],
  agent: ['shared'],
  'control-plane': ['shared'],
  sim: ['shared', 'agent'],
};
const workspaces = Object.keys(MAY_IMPORT);

const dependencyRules = workspaces.map((workspace) => ({
  files: [`${workspace}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: workspaces
          .filter((other) => !MAY_IMPORT[workspace].includes(other))
          .flatMap((other) => [
            {
              group: [`@drover/${other}`, `@drover/${other}/**`],
              message: `${workspace} must not import ${other} (docs/architecture.md).`,
            },
            ...(other === workspace
              ? []
              : [
                  {
                    regex: `^(\\.\\./)+${other}/`,
                    message: `Import @drover/${other} by name, where allowed (docs/architecture.md).`,
                  },
                ]),
          ]),
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['**/dist/**', '**/generated/**', '**/node_modules/**', '.config/**', 'firmware-images/**/*.mjs'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: new URL('..', import.meta.url).pathname },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-misused-spread': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  { files: ['**/*.js', '**/*.mjs'], extends: [tseslint.configs.disableTypeChecked] },
  ...dependencyRules,
  {
    files: ['{agent,sim}/src/**/*.ts'],
    ignores: ['agent/src/onnxruntime/index.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: [
            {
              name: 'onnxruntime-node',
              message: 'Import agent/src/onnxruntime, which silences it.',
              allowTypeImports: true,
            },
          ],
        },
      ],
    },
  },
  prettier,
);
