import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: { index: 'src/index.ts', react: 'src/react/index.ts' },
  format: ['esm', 'cjs'],
  target: 'es2022',
  platform: 'neutral',
  // `type: module` makes `.js` ESM, for browsers without a build too; `.cjs` is for `require`.
  fixedExtension: false,
  dts: true,
  // npm packs the licence from here, and not from the directory above.
  copy: [{ from: '../../LICENSE', to: '.' }],
})
