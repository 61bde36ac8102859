/**
 * What goes over the wire, as docs/protocol.md describes it. A frame may carry more fields than are here,
 * and there may be more kinds of frames.
 *
 * Generated from docs/schema by `npm run generate`: never changed by hand.
 */

/**
 * A frame from the server.
 */
export type ServerFrame =
  | {
      /**
       * What was said.
       */
      message: ChatMessage
      /**
       * Its place.
       */
      position: Position
      type: 'chat_message'
    }
  | {
      /**
       * The same, for programs.
       */
      code: ErrorCode
      /**
       * What is wrong with which value, for people.
       */
      error: string
      /**
       * As given; null when the send carried no valid one.
       */
      local_id: string | null
      /**
       * When to try again, in milliseconds.
       */
      retry_after_ms?: number | null
      /**
       * Whether the same send may succeed later.
       */
      retryable: boolean
      type: 'message.failed'
    }
  | {
      /**
       * Whether any of the user's devices types.
       */
      is_typing: boolean
      type: 'typing'
      /**
       * Who.
       */
      user_id: string
      /**
       * The name to show.
       */
      username: string
    }
  | {
      /**
       * The ids that the user listed and the cursor moved past.
       */
      message_ids: MessageId[]
      type: 'read'
      /**
       * Who.
       */
      user_id: string
    }
  | {
      /**
       * The connection's own conversation.
       */
      conversation_id: string
      /**
       * Whether there are more in the direction of paging (`around_id`: older ones).
       */
      has_more: boolean
      /**
       * Only with `around_id`: whether newer ones exist.
       */
      has_more_after?: boolean | null
      /**
       * Newest first.
       */
      messages: HistoryRow[]
      /**
       * As the client gave it: a string or a number.
       */
      request_id?: RequestId | null
      type: 'messages_fetched'
    }
  | {
      /**
       * The message; the status holds for all earlier ones of the user too.
       */
      message_id: MessageId
      /**
       * How far it came.
       */
      status: Status
      /**
       * When that became known.
       */
      timestamp: UnixMicros
      type: 'message.status'
    }
  | {
      /**
       * Which of both.
       */
      status: PresenceStatus
      /**
       * When.
       */
      timestamp: UnixMicros
      type: 'user_status'
      /**
       * Who.
       */
      user_id: string
    }
  | {
      type: 'heartbeat'
    }
  | {
      /**
       * The new content.
       */
      content: string
      /**
       * Who changed it.
       */
      edited_by: string
      /**
       * The `local_id` of the edit, when one was given.
       */
      local_id?: string | null
      /**
       * Which message.
       */
      message_id: MessageId
      /**
       * The place of the edit.
       */
      position: Position
      /**
       * When.
       */
      timestamp: UnixMicros
      type: 'message.edited'
    }
  | {
      /**
       * Who deleted it.
       */
      deleted_by: string
      /**
       * The `local_id` of the deletion, when one was given.
       */
      local_id?: string | null
      /**
       * Which message.
       */
      message_id: MessageId
      /**
       * The place of the deletion.
       */
      position: Position
      /**
       * When.
       */
      timestamp: UnixMicros
      type: 'message.deleted'
    }
  | {
      /**
       * As given; null when there was none or it is longer than 64 bytes.
       */
      action: string | null
      /**
       * The same, for programs.
       */
      code: ErrorCode
      /**
       * What is wrong with which value, for people.
       */
      error: string
      /**
       * When to try again, in milliseconds.
       */
      retry_after_ms?: number | null
      /**
       * Whether the same action may succeed later.
       */
      retryable: boolean
      type: 'error'
    }
  | {
      /**
       * When the new token ends.
       */
      expires_at: UnixMicros
      type: 'auth_ok'
    }
  | {
      /**
       * Names this connection in the server's logs.
       */
      connection_id: string
      /**
       * The connection's conversation.
       */
      conversation_id: string
      /**
       * Whether there is a store behind the log.
       */
      durable: boolean
      /**
       * The epoch of the conversation's log.
       */
      epoch: number
      /**
       * The newest message; `"0"` if there is none.
       */
      head_id: MessageId
      /**
       * The pause between two heartbeats of the server, in milliseconds.
       */
      heartbeat_ms: number
      /**
       * What the server accepts.
       */
      limits: Limits
      /**
       * The user's read cursor; `"0"` if there is none.
       */
      read_id: MessageId
      /**
       * Whether the replay leaves nothing out.
       */
      resumed: boolean
      /**
       * The store has everything up to this message; `"0"` until something of this epoch is stored.
       */
      stored_id: MessageId
      type: 'hello'
      /**
       * The number of messages above `read_id`.
       */
      unread: number
      /**
       * The token's user.
       */
      user_id: string
    }
  | {
      /**
       * The last position that the replay covered.
       */
      position: Position
      type: 'live'
    }
  | {
      /**
       * The epoch that this speaks of.
       */
      epoch: number
      type: 'stored'
      /**
       * The last message that is stored.
       */
      up_to_id: MessageId
    }
  | {
      /**
       * Delivered cursors by user.
       */
      delivered: {
        [k: string]: MessageId
      }
      /**
       * Read cursors by user.
       */
      read: {
        [k: string]: MessageId
      }
      type: 'receipts'
    }
  | {
      /**
       * How many users.
       */
      count: number
      /**
       * Some of them.
       */
      sample: string[]
      type: 'presence'
    }
  | {
      /**
       * The epoch that begins.
       */
      epoch: number
      /**
       * The last position that survived.
       */
      lost_after: Position
      /**
       * The store has everything up to this message.
       */
      stored_id: MessageId
      type: 'resync'
    }
  | {
      /**
       * The first message that is left out.
       */
      from: MessageId
      /**
       * The last message that is left out.
       */
      to: MessageId
      type: 'gap'
    }
  | {
      /**
       * When.
       */
      expires_at: UnixMicros
      type: 'auth_expiring'
    }
  | {
      /**
       * How long to wait first, in milliseconds.
       */
      after_ms: number
      /**
       * Why.
       */
      reason: ReconnectReason
      type: 'reconnect'
    }
  | {
      /**
       * Why, for people.
       */
      reason: string
      type: 'access_revoked'
    }
/**
 * A well-formed action. Everything that can be judged without state has been judged.
 */
export type Action =
  | {
      action: 'send_message'
      /**
       * 1 byte up to the configured limit (16,384 bytes) of UTF-8.
       */
      content: string
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * The client's own name for the message; without it the send is not idempotent.
       */
      local_id?: LocalId | null
      /**
       * Whether the same was sent before.
       */
      retry?: boolean | null
      /**
       * The trace that this belongs to.
       */
      traceparent?: TraceParent | null
    }
  | {
      action: 'edit_message'
      /**
       * 1 byte up to the configured limit (16,384 bytes) of UTF-8.
       */
      content: string
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * The client's own name for the edit.
       */
      local_id?: LocalId | null
      /**
       * Which message.
       */
      message_id: MessageId | number
      /**
       * The trace that this belongs to.
       */
      traceparent?: TraceParent | null
    }
  | {
      action: 'delete_message'
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * The client's own name for the deletion.
       */
      local_id?: LocalId | null
      /**
       * Which message.
       */
      message_id: MessageId | number
      /**
       * The trace that this belongs to.
       */
      traceparent?: TraceParent | null
    }
  | {
      action: 'typing'
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * Whether the user types.
       */
      is_typing: boolean
    }
  | {
      action: 'read'
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * 1–500 ids, as listed.
       *
       * @minItems 1
       * @maxItems 500
       */
      message_ids: [MessageId | number, ...(MessageId | number)[]]
    }
  | {
      action: 'fetch_messages'
      after_id?: (MessageId | number) | null
      around_id?: (MessageId | number) | null
      before_id?: (MessageId | number) | null
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * How many messages: 20 when not given, clamped to 1–100.
       */
      limit?: number | null
      /**
       * Echoed in the answer as it came.
       */
      request_id?: RequestId | null
    }
  | {
      action: 'heartbeat' | 'heartbeat_ack'
    }
  | {
      action: 'auth'
      /**
       * The one of the URL, or left out.
       */
      conversation_id?: string | null
      /**
       * A JWT of the same user.
       */
      token: string
    }
/**
 * Why an action was refused. Serialized in snake case.
 */
export type ErrorCode =
  | 'invalid_json'
  | 'unknown_action'
  | 'invalid_field'
  | 'invalid_content'
  | 'content_too_long'
  | 'invalid_local_id'
  | 'local_id_conflict'
  | 'wrong_conversation'
  | 'unknown_message'
  | 'not_author'
  | 'access_denied'
  | 'resume_lost'
  | 'resume_too_old'
  | 'rate_limited'
  | 'unavailable'
  | 'internal'
/**
 * a decimal message id below 2^53
 */
export type MessageId = string
/**
 * a position: N, or N-k for the k-th other durable event after message N
 */
export type Position = string
/**
 * Whether a user has a connection in the conversation.
 */
export type PresenceStatus = 'online' | 'offline'
/**
 * Why a client is asked to move.
 */
export type ReconnectReason = 'drain' | 'rebalance'
/**
 * a client's own name for a request: at most 128 bytes
 */
export type RequestId = string | number
/**
 * How far a message came. Never back, except to `failed`.
 */
export type Status = 'sent' | 'delivered' | 'read' | 'failed'
/**
 * an RFC 3339 timestamp, UTC, milliseconds
 */
export type UnixMicros = string
/**
 * a client's own name for a message: 1 to 128 bytes
 */
export type LocalId = string
/**
 * The `traceparent` of W3C Trace Context. One that is malformed is ignored.
 */
export type TraceParent = string

/**
 * Either direction.
 */
export interface Wire {
  server: ServerFrame
  client: Action
}
/**
 * The message in `chat_message`.
 */
export interface ChatMessage {
  /**
   * What was said.
   */
  content: string
  /**
   * Its name and order in the conversation.
   */
  id: MessageId
  /**
   * The sender's own name for it, when one was given.
   */
  local_id?: string | null
  /**
   * Who said it.
   */
  sender_id: string
  /**
   * How far it came.
   */
  status: Status
  /**
   * When; never decides order.
   */
  timestamp: UnixMicros
}
/**
 * A message in `messages_fetched`.
 */
export interface HistoryRow {
  /**
   * What it says at present. Empty when deleted.
   */
  content: string
  /**
   * Who changed the content last.
   */
  edited_by?: string | null
  /**
   * Its name and order in the conversation.
   */
  id: MessageId
  /**
   * Whether it was taken back.
   */
  is_deleted: boolean
  /**
   * Whether its content was ever changed.
   */
  is_edited: boolean
  /**
   * The reader's own messages only.
   */
  local_id?: string | null
  /**
   * Of the row's last change.
   */
  position: Position
  /**
   * Who said it.
   */
  sender_id: string
  /**
   * When it was sent; never decides order.
   */
  sent_at: UnixMicros
  /**
   * How far it came.
   */
  status: Status
}
/**
 * What the server accepts, told in `hello`.
 */
export interface Limits {
  /**
   * Actions that one connection may ask at once.
   */
  actions_burst: number
  /**
   * Actions a second that one connection may keep up. 0: no limit.
   */
  actions_per_second: number
  /**
   * Longest content, in bytes of UTF-8.
   */
  content_bytes: number
  /**
   * Longest frame and longest message on the socket, in bytes.
   */
  frame_bytes: number
  /**
   * Longest `local_id`, in bytes.
   */
  local_id_bytes: number
  /**
   * Largest page of history.
   */
  page: number
  /**
   * Most ids in one `read`.
   */
  read_ids: number
  /**
   * Most events that a resume replays.
   */
  resume_events: number
}
