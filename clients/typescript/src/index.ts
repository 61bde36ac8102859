/**
 * The client of parlance, for browsers and everything else that has a `WebSocket`.
 *
 * Begin with {@link ChatClient}.
 *
 * @module
 */

export { ChatClient } from './client.js'
export { Conversation } from './conversation.js'
export { ChatError } from './errors.js'
export { indexedDbStore, localStore, memoryStore } from './stores.js'
export type * from './types.js'
