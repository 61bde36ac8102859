import type { ChatErrorLike, ErrorCode } from './types.js'

/** Why something did not work. */
export class ChatError extends Error implements ChatErrorLike {
  readonly code: ErrorCode
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, retryable = false) {
    super(message)
    this.name = 'ChatError'
    this.code = code
    this.retryable = retryable
  }

  /** The same as an `Error`, from what was kept as data. */
  static of(error: ChatErrorLike): ChatError {
    return error instanceof ChatError ? error : new ChatError(error.code, error.message, error.retryable)
  }
}

/** The same as data, which can be kept. */
export function plain(code: ErrorCode, message: string, retryable = false): ChatErrorLike {
  return { code, message, retryable }
}
