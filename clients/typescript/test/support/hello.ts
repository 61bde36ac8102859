/** The greeting of a server with an empty conversation. */

const LIMITS = {
  frame_bytes: 65_536,
  content_bytes: 16_384,
  local_id_bytes: 128,
  read_ids: 500,
  page: 100,
  actions_per_second: 20,
  actions_burst: 40,
  resume_events: 5_000,
}

export const HELLO = {
  type: 'hello',
  conversation_id: 'room',
  user_id: 'alice',
  connection_id: '0',
  epoch: 0,
  head_id: '0',
  stored_id: '0',
  read_id: '0',
  unread: 0,
  resumed: false,
  durable: true,
  heartbeat_ms: 25_000,
  limits: LIMITS,
}
