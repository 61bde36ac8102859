import { run } from './run.js'

/** Builds what the tests of a project look at, once before all of them. */
export default function build(): void {
  run('node_modules/.bin/tsdown', ['--logLevel', 'error'])
}
