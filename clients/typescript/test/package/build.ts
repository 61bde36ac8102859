import { run } from './run.js'

/** Builds what the tests of this project look at, once for all of them. */
export default function build(): void {
  run('node_modules/.bin/tsdown', ['--logLevel', 'error'])
}
