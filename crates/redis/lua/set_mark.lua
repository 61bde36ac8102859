-- Put before the scripts that set marks. Gives the meta that stands then.
--
-- `m` has: meta, if there is one · epoch · meta_key, log_key, and ingest_key with a store · has_store · publish · channel ·
-- conversation · time, µs · kept_ms without a store · the store's head: id, k, t, ordinal, count
local function set_mark(m)
  local epoch, has_store, meta = m.epoch, m.has_store, m.meta
  local id, k, t, ordinal, count = 0, 0, 0, 0, 0
  local stored_id, stored_k, breaks = 0, 0, ''
  if meta then
    local _, at_epoch, n
    _, at_epoch, n, k, t, ordinal, count, stored_id, stored_k = struct.unpack(META, meta)
    if at_epoch == epoch then return meta end
    id, breaks = at_epoch * PER_EPOCH + n, string.sub(meta, META_BYTES + 1)
  end
  local base_id, base_k, base_t = m.id, m.k, m.t
  if not meta then stored_id, stored_k = base_id, base_k end
  local changes = string.gsub(m.meta_key, ':m:', ':x:', 1)
  if is_above(base_id, base_k, id, k) then
    id, k, ordinal, count = base_id, base_k, m.ordinal, m.count
    -- What the log has is stored, or was lost; and it does not have what came then, edits among it. So
    -- the log begins here.
    call('DEL', m.log_key, changes)
  end
  t = math.max(t, base_t)
  local n = id % PER_EPOCH
  if epoch == 0 or (not meta and math.floor(id / PER_EPOCH) == epoch) then
    meta = struct.pack(META, VERSION, epoch, n, k, t, ordinal, count, stored_id, stored_k)
    call('SET', m.meta_key, meta)
    return meta
  end

  -- A break is dropped only here, and only when the store has everything up to its mark. Without a
  -- store the newest stay.
  local kept = ''
  for i = 1, #breaks, BREAK_BYTES do
    local of = struct.unpack('>I4', breaks, i)
    if has_store then
      if of * PER_EPOCH > stored_id then kept = kept .. string.sub(breaks, i, i + BREAK_BYTES - 1) end
    elseif #breaks - i < 31 * BREAK_BYTES then
      kept = kept .. string.sub(breaks, i, i + BREAK_BYTES - 1)
    end
  end
  kept = kept .. struct.pack(BREAK, epoch, id, k, ordinal, count)
  t = math.max(m.time, t + 1)
  local position = place(epoch * PER_EPOCH, 0)
  local text = place(id, k) .. ' ' .. whole(t) .. ' ' .. whole(ordinal) .. ' ' .. whole(count) .. ' {"mark":' .. epoch .. '}'
  call('XADD', m.log_key, position, 'm', text)
  meta = struct.pack(META, VERSION, epoch, 0, 0, t, ordinal, count, stored_id, stored_k) .. kept
  call('SET', m.meta_key, meta)
  if has_store then
    call('XADD', m.ingest_key, '*', m.conversation, text)
    -- What is not stored must not expire.
    call('PERSIST', m.log_key)
    call('PERSIST', changes)
  else
    call('PEXPIRE', m.log_key, m.kept_ms)
  end
  call(m.publish, m.channel, text)
  return meta
end
